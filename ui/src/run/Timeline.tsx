import { isReport, type Schema, type TaskInstance } from "../api";
import { duration, percent, time } from "../format";
import { useText } from "../i18n";
import { lanes, span, tickLabel, ticks, type Lane } from "./lanes";
import { useLive, type StreamState } from "./stream";

interface Props {
  run: string;
  state: StreamState;
  tasks: TaskInstance[] | undefined;
  /** When the run ended, as far as Airflow says. */
  endedAt: string | null | undefined;
}

export function Timeline({ run, state, tasks, endedAt }: Props) {
  const text = useText();
  const { data } = useLive<Schema["Timeline"]>(run, "timeline", state);
  // A saved report of a run that went on shows it up to the last thing that happened.
  const now = isReport ? 0 : endedAt ? Date.parse(endedAt) : Date.now();
  const shown = lanes(tasks ?? [], data?.attempts ?? [], now);
  if (!shown.length) return null;
  return (
    <>
      <h2>{text("timeline")}</h2>
      {data && <Numbers data={data} />}
      <Picture shown={shown} />
      <details>
        <summary>{text("timelineTable")}</summary>
        <Table shown={shown} />
      </details>
    </>
  );
}

function Numbers({ data }: { data: Schema["Timeline"] }) {
  const text = useText();
  const training = data.attempts.filter((attempt) => attempt.task === "train");
  const skew = training.at(-1);
  const goodput = data.goodput;
  return (
    <dl className="facts">
      {data.time_to_first_step != null && <Fact name={text("timeToFirstStep")}>{duration(data.time_to_first_step)}</Fact>}
      {skew?.launch_skew != null && (
        <Fact name={text("launchSkew")}>
          {(1000 * skew.launch_skew).toFixed(1)} ± {(1000 * (skew.launch_skew_error ?? 0)).toFixed(1)} ms
        </Fact>
      )}
      {goodput && (
        <Fact name={text("goodput")}>
          <span title={text("goodputMeaning")}>
            {text("goodputValue", {
              share: percent(goodput.share),
              useful: duration(goodput.useful_seconds),
              wall: duration(goodput.wall_seconds),
            })}
          </span>
        </Fact>
      )}
      {goodput != null && goodput.lost_steps > 0 && <Fact name={text("lostSteps")}>{goodput.lost_steps}</Fact>}
    </dl>
  );
}

const Fact = ({ name, children }: { name: string; children: React.ReactNode }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);

/** Share of the axis at its end that is too short for a label. */
const EDGE = 0.06;

/** Bars on one axis of time; the table under it says the same. */
function Picture({ shown }: { shown: Lane[] }) {
  const text = useText();
  const [from, to] = span(shown);
  const at = (moment: number) => `${(100 * (moment - from)) / (to - from)}%`;
  const width = (phase: { from: number; to: number }) => `${(100 * (phase.to - phase.from)) / (to - from)}%`;
  const kinds = [...new Set(shown.flatMap((lane) => lane.phases.map((phase) => phase.kind)))];
  return (
    <figure className="timeline" role="img" aria-label={`${text("timeline")}: ${shown.map((lane) => lane.label).join(", ")}`}>
      <div className="lanes">
        {shown.map((lane, i) => (
          <div className="lane" key={`${lane.label} ${i}`}>
            <span className="label">{lane.label}</span>
            <span className="track">
              {lane.phases.map((phase) => (
                <span
                  key={`${phase.kind} ${phase.from}`}
                  className={`${phase.kind}${phase.failed ? " failed" : ""}`}
                  style={{ left: at(phase.from), width: width(phase) }}
                  title={`${text(phase.kind)}: ${duration((phase.to - phase.from) / 1000)}`}
                />
              ))}
              {lane.marks.map((mark) => (
                <i
                  key={`${mark.kind} ${mark.at}`}
                  className={mark.kind}
                  style={{ left: at(mark.at) }}
                  title={`${text(mark.kind, { n: mark.n ?? "" })}: ${time(mark.at)}`}
                />
              ))}
            </span>
          </div>
        ))}
        <div className="lane axis">
          <span className="label" />
          <span className="track">
            {ticks([from, to - EDGE * (to - from)]).map((moment) => (
              <span key={moment} style={{ left: at(moment) }}>
                {tickLabel(moment, [from, to])}
              </span>
            ))}
          </span>
        </div>
      </div>
      <figcaption className="legend">
        {kinds.map((kind) => (
          <span key={kind}>
            <b className={kind} /> {text(kind)}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function Table({ shown }: { shown: Lane[] }) {
  const text = useText();
  const rows = shown.flatMap((lane) => [
    ...lane.phases.map((phase) => ({ lane: lane.label, at: phase.from, what: text(phase.kind), took: (phase.to - phase.from) / 1000 })),
    ...lane.marks.map((mark) => ({ lane: lane.label, at: mark.at, what: text(mark.kind, { n: mark.n ?? "" }), took: null })),
  ]);
  rows.sort((a, b) => a.at - b.at);
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{text("at")}</th>
          <th scope="col">{text("task")}</th>
          <th scope="col">{text("event")}</th>
          <th scope="col" className="number">{text("duration")}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row, i) => (
          <tr key={i}>
            <td className="number">{time(row.at)}</td>
            <th scope="row">{row.lane}</th>
            <td>{row.what}</td>
            <td className="number">{row.took !== null && duration(row.took)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
