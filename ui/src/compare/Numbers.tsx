import { memo } from "react";
import type { Schema } from "../api";
import { duration, percent, points } from "../format";
import { named, useText, type Key } from "../i18n";

const COLUMNS = ["before", "after", "reference"] as const;
type Name = (typeof COLUMNS)[number];
export type Side = { name: Name; side: Schema["Side"] };

/** The models that have been evaluated. */
export const sidesOf = (data: Schema["Comparison"]): Side[] =>
  COLUMNS.flatMap((name) => (data[name] ? [{ name, side: data[name] }] : []));

type Row = [Key, (side: Side) => React.ReactNode];

/** Both models' scores, what is wrong with the other answers, and the difference. */
export const Numbers = memo(function Numbers({ data }: { data: Schema["Comparison"] }) {
  const text = useText();
  const sides = sidesOf(data);
  const without = data.without_doubtful;
  const rows: Row[] = [
    [
      "correct",
      ({ side: { summary, interval } }) => (
        <>
          <Share {...{ matched: summary.matched, evaluated: summary.questions }} />
          <Interval low={interval[0]} high={interval[1]} value={summary.matched / Math.max(summary.questions, 1)} />
        </>
      ),
    ],
    ["interval", ({ side: { interval } }) => `${percent(interval[0], 1)} – ${percent(interval[1], 1)}`],
    ...(without ? [["withoutDoubtful", (side) => <Unflagged side={side} without={without} />] satisfies Row] : []),
    ["bothEmpty", ({ side }) => side.summary.vacuous],
    ["wrong", ({ side }) => mismatched(side.summary)],
    ["doesNotRun", ({ side }) => side.summary.invalid],
  ];
  const speeds: Row[] = sides.some(({ side }) => side.summary.speed)
    ? [
        ["answersPerSecond", ({ side }) => <Rate speed={side.summary.speed} />],
        ["latency", ({ side: { summary } }) => (summary.speed ? duration(summary.speed.p95) : "–")],
      ]
    : [];
  return (
    <>
      <table>
        <thead>
          <tr>
            <td />
            {sides.map(({ name, side }) => (
              <th scope="col" key={name}>
                {text(name)}: {side.model}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <Lines rows={rows} sides={sides} />
          {CLASSES.flatMap(([field, key]) =>
            classesOf(sides, field).map((name) => (
              <tr key={`${field} ${name}`}>
                <th scope="row">
                  {text(key)}: {named(text, "class", name)}
                </th>
                {sides.map(({ name: column, side: { summary } }) => (
                  <td key={column}>{lacksClasses(summary, field) ? "–" : (summary[field]?.[name] ?? 0)}</td>
                ))}
              </tr>
            )),
          )}
          <Lines rows={speeds} sides={sides} />
        </tbody>
      </table>
      {data.paired && <Difference name="difference" paired={data.paired} />}
      {without && <Difference name="differenceWithout" paired={without.paired} />}
    </>
  );
});

function Lines({ rows, sides }: { rows: Row[]; sides: Side[] }) {
  const text = useText();
  return rows.map(([key, cell]) => (
    <tr key={key}>
      <th scope="row">{text(key)}</th>
      {sides.map((side) => (
        <td key={side.name}>{cell(side)}</td>
      ))}
    </tr>
  ));
}

/** Answers a second, over those that this run generated; a dash where it generated none. */
function Rate({ speed }: { speed?: Schema["Speed"] | null }) {
  const text = useText();
  return speed ? text("rateOf", { rate: (speed.answers / speed.seconds).toFixed(2), n: speed.answers }) : "–";
}

const CLASSES = [
  ["mismatched_by_class", "wrong"],
  ["invalid_by_class", "doesNotRun"],
] as const satisfies [keyof Schema["ScoreSummary"], Key][];
type Field = (typeof CLASSES)[number][0];

const classesOf = (sides: Side[], field: Field) => [...new Set(sides.flatMap(({ side }) => Object.keys(side.summary[field] ?? {})))];

const mismatched = (summary: Schema["ScoreSummary"]) => summary.questions - summary.matched - summary.invalid;

/** Whether a score is from before the classes were counted: it has such answers, and no class. */
export function lacksClasses(summary: Schema["ScoreSummary"], field: Field): boolean {
  const answers = field === "invalid_by_class" ? summary.invalid : mismatched(summary);
  return answers > 0 && Object.keys(summary[field] ?? {}).length === 0;
}

export function Share({ matched, evaluated }: Schema["Tally"]) {
  return (
    <>
      <strong>
        {matched} / {evaluated}
      </strong>{" "}
      ({percent(matched / Math.max(evaluated, 1))})
    </>
  );
}

function Unflagged({ side: { name, side }, without }: { side: Side; without: Schema["WithoutDoubtful"] }) {
  const tally = name === "reference" ? side.summary.unflagged : without[name];
  return tally ? <Share {...tally} /> : "–";
}

function Difference({ name, paired }: { name: Key; paired: Schema["PairedComparison"] }) {
  const text = useText();
  return (
    <p>
      {text(name)}: <strong>{points(paired.difference)}</strong> ({points(paired.low)} … {points(paired.high)}) · {text("pValue")} ={" "}
      {paired.p_value.toPrecision(2)}
    </p>
  );
}

/** A share with its interval on a line from 0 to 1. */
function Interval({ low, high, value }: { low: number; high: number; value: number }) {
  return (
    <svg className="interval" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
      <line x1="0" x2="100" y1="5" y2="5" stroke="var(--line)" />
      <line x1={100 * low} x2={100 * high} y1="5" y2="5" stroke="var(--accent)" strokeWidth="3" />
      <line x1={100 * value} x2={100 * value} y1="0" y2="10" stroke="var(--fg)" vectorEffect="non-scaling-stroke" />
    </svg>
  );
}
