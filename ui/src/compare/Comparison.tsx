import { useCallback, useEffect, useMemo, useRef } from "react";
import { useSearchParams } from "react-router-dom";
import { isReport, runPath, useApi, withQuery, type Schema } from "../api";
import { percent, points } from "../format";
import { useText, type Key } from "../i18n";
import { filtered, FILTERS, outcomeOf, type Filter, type QuestionLine } from "./filter";
import { QuestionList } from "./QuestionList";
import { QuestionView } from "./QuestionView";

const BUCKETS = ["gained", "lost", "both_wrong", "both_right"] as const;
const MOST = 10_000;
const NONE: QuestionLine[] = [];

export function Comparison({ run, cluster, live }: { run: string; cluster: string; live: boolean }) {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const against = params.get("against");
  const { data } = useApi<Schema["Comparison"]>(withQuery(runPath(run, "/comparison"), { against }), live ? 10_000 : 0);
  const versions = useApi<Schema["History"]>(isReport ? null : `sqltune/api/v1/clusters/${encodeURIComponent(cluster)}/history`).data?.versions;
  if (!data) return <p className="muted">{text("loading")}</p>;
  if (!data.before && !data.after) return <p className="notice">{text("noComparison")}</p>;
  return (
    <>
      {versions && versions.length > 1 && (
        <label>
          {text("compareWithVersion")}{" "}
          <select value={against ?? ""} onChange={(e) => setParams({ view: "comparison", ...(e.target.value && { against: e.target.value }) })}>
            <option value="">{text("servedBefore")}</option>
            {versions.filter((v) => v.run_key !== run).map((v) => (
              <option key={v.number} value={v.run_key}>
                {v.number} · {v.matched} / {v.questions}
              </option>
            ))}
          </select>
        </label>
      )}
      <Numbers data={data} />
      {data.rules.length > 0 && <Rules data={data} />}
      {data.before && data.after && <Questions run={run} against={against} />}
    </>
  );
}

const COLUMNS = ["before", "after", "reference"] as const;

function Numbers({ data }: { data: Schema["Comparison"] }) {
  const text = useText();
  const sides = COLUMNS.flatMap((name) => (data[name] ? [{ name, side: data[name] }] : []));
  const rows: [Key, (side: Schema["Side"]) => React.ReactNode][] = [
    [
      "correct",
      ({ summary, interval }) => (
        <>
          <strong>
            {summary.matched} / {summary.questions}
          </strong>{" "}
          ({percent(summary.matched / Math.max(summary.questions, 1))})
          <Interval low={interval[0]} high={interval[1]} value={summary.matched / Math.max(summary.questions, 1)} />
        </>
      ),
    ],
    ["interval", ({ interval }) => `${percent(interval[0], 1)} – ${percent(interval[1], 1)}`],
    ["doesNotRun", ({ summary }) => summary.invalid],
    ["bothEmpty", ({ summary }) => summary.vacuous],
  ];
  const groups: [Key, "by_language" | "by_hardness" | "by_clause"][] = [
    ["language", "by_language"],
    ["hardness", "by_hardness"],
  ];
  const classes = (["mismatched_by_class", "invalid_by_class"] as const).flatMap((field) =>
    [...new Set(sides.flatMap(({ side }) => Object.keys(side.summary[field] ?? {})))].map((name) => [field, name] as const),
  );
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
          {rows.map(([key, cell]) => (
            <tr key={key}>
              <th scope="row">{text(key)}</th>
              {sides.map(({ name, side }) => (
                <td key={name}>{cell(side)}</td>
              ))}
            </tr>
          ))}
          {classes.map(([field, name]) => (
            <tr key={`${field} ${name}`}>
              <th scope="row">
                {text(field === "mismatched_by_class" ? "wrong" : "doesNotRun")}: {name}
              </th>
              {sides.map(({ name: side, side: { summary } }) => (
                <td key={side}>{summary[field]?.[name] ?? 0}</td>
              ))}
            </tr>
          ))}
          {groups.flatMap(([key, field]) =>
            [...new Set(sides.flatMap(({ side }) => Object.keys(side.summary[field])))].map((value) => (
              <tr key={`${field} ${value}`}>
                <th scope="row">
                  {text(key)}: {value}
                </th>
                {sides.map(({ name, side }) => {
                  const tally = side.summary[field][value];
                  return <td key={name}>{tally ? `${tally.matched} / ${tally.evaluated}` : "–"}</td>;
                })}
              </tr>
            )),
          )}
        </tbody>
      </table>
      {data.paired && (
        <p>
          {text("difference")}: <strong>{points(data.paired.difference)}</strong> ({points(data.paired.low)} … {points(data.paired.high)}) ·{" "}
          {text("pValue")} = {data.paired.p_value.toPrecision(2)}
        </p>
      )}
    </>
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

function Rules({ data }: { data: Schema["Comparison"] }) {
  const text = useText();
  return (
    <>
      <h2>
        {text("verdict")}: {data.headline}
      </h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("rule")}</th>
            <th scope="col">{text("result")}</th>
            <th scope="col">{text("why")}</th>
          </tr>
        </thead>
        <tbody>
          {data.rules.map((rule) => (
            <tr key={rule.id}>
              <th scope="row">{rule.id}</th>
              <td className={rule.passed ? "good" : "bad"}>{text(rule.passed ? "passed" : "failed")}</td>
              <td className="text">{rule.explanation}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function Questions({ run, against }: { run: string; against: string | null }) {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const { data } = useApi<Schema["Questions"]>(withQuery(runPath(run, "/questions"), { limit: MOST, against }));
  const all = data?.questions ?? NONE;
  const filter = useMemo(() => Object.fromEntries(FILTERS.map((name) => [name, params.get(name)])) as Filter, [params]);
  const questions = useMemo(() => filtered(all, filter), [all, filter]);
  const chosen = Math.max(0, questions.findIndex((q) => q.id === params.get("question")));
  const current = questions[chosen];

  const set = (name: string, value: string | null) =>
    setParams(
      (old) => {
        if (value) old.set(name, value);
        else old.delete(name);
        return old;
      },
      { replace: true },
    );

  // The address follows a moment later: keys that come meanwhile go on from what was chosen last.
  const wanted = useRef<string>(undefined);
  useEffect(() => {
    wanted.current = current?.id;
  }, [current?.id]);
  const choose = (id: string) => {
    wanted.current = id;
    set("question", id);
  };

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea")) return;
      const step = { j: 1, k: -1 }[event.key];
      const next = step && questions[Math.max(0, questions.findIndex((q) => q.id === wanted.current)) + step];
      if (next) choose(next.id);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });

  // Who follows a link to a question wants to see it; who opens the tab begins at its top.
  const isLink = useRef(params.has("question"));
  const showLinked = useCallback((element: HTMLElement | null) => {
    if (element && isLink.current) element.scrollIntoView();
    isLink.current = false;
  }, []);

  if (!data) return <p className="muted">{text("loading")}</p>;
  return (
    <>
      <h2>{text("questions", { n: questions.length })}</h2>
      <div className="bar">
        <button type="button" aria-pressed={!filter.change} onClick={() => set("change", null)}>
          {text("all")} {all.length}
        </button>
        {BUCKETS.map((bucket) => (
          <button key={bucket} type="button" aria-pressed={filter.change === bucket} onClick={() => set("change", bucket)}>
            {text(bucket)} {all.filter((q) => q.change === bucket).length}
          </button>
        ))}
        {CHOICES.map(([name, key, value]) => (
          <Choice key={name} label={text(key)} chosen={filter[name]} values={all.map(value)} onChoose={(v) => set(name, v)} />
        ))}
        <input
          type="search"
          aria-label={text("search")}
          placeholder={text("search")}
          defaultValue={filter.text ?? ""}
          maxLength={200}
          onChange={(e) => set("text", e.target.value)}
        />
        <span className="muted end">{text("keys")}</span>
      </div>
      {current ? (
        <div className="split" ref={showLinked}>
          <QuestionList questions={questions} current={current} onChoose={choose} />
          <QuestionView run={run} id={current.id} against={against} />
        </div>
      ) : (
        <p className="muted">{text("noAnswers")}</p>
      )}
    </>
  );
}

const CHOICES: ["outcome" | "language" | "hardness" | "database", Key, (line: QuestionLine) => string | null][] = [
  ["outcome", "outcome", outcomeOf],
  ["language", "language", (q) => q.language],
  ["hardness", "hardness", (q) => q.hardness],
  ["database", "database", (q) => q.database],
];

interface ChoiceProps {
  label: string;
  chosen: string | null;
  values: (string | null)[];
  onChoose: (value: string | null) => void;
}

/** A filter by one property; left out where all questions are alike in it. */
function Choice({ label, chosen, values, onChoose }: ChoiceProps) {
  const distinct = [...new Set(values)].filter((value) => value !== null && value !== "").sort();
  if (distinct.length < 2 && !chosen) return null;
  return (
    <label>
      {label}{" "}
      <select value={chosen ?? ""} onChange={(e) => onChoose(e.target.value || null)}>
        <option value="">–</option>
        {distinct.map((value) => (
          <option key={value}>{value}</option>
        ))}
      </select>
    </label>
  );
}
