import { useMemo, useState } from "react";
import { isReport, runPath, useApi, useDagRun, useTaskInstances, withQuery, type Schema, type TaskInstance } from "../api";
import { Chart } from "../Chart";
import { between, commit, duration, moment, percent } from "../format";
import { useText, type Key } from "../i18n";
import { useCurves } from "./useCurves";

interface Props {
  dagId: string;
  runId: string;
  head: Schema["RunHead"];
}

const RUNNING = new Set(["running", "queued", "deferred", "scheduled", "up_for_retry", "restarting"]);
export const LIVE_MS = 2_000;

export function Overview({ dagId, runId, head }: Props) {
  const dagRun = useDagRun(dagId, runId, LIVE_MS).data;
  const live = dagRun ? RUNNING.has(dagRun.state) : !isReport;
  return (
    <>
      <Facts head={head} dagRun={dagRun} />
      <Curves run={head.key} live={live} />
      <Hosts run={head.key} live={live} />
      <Chain dagId={dagId} runId={runId} live={live} />
    </>
  );
}

function Facts({ head, dagRun }: { head: Schema["RunHead"]; dagRun: ReturnType<typeof useDagRun>["data"] }) {
  const text = useText();
  const training = head.training;
  const facts: [Key, React.ReactNode][] = [
    ["state", <strong>{dagRun?.state ?? head.state}</strong>],
    ["data", <>{head.dataset_repo} @ <code>{commit(head.dataset_commit)}</code></>],
    ["recipe", head.recipe],
    ["cluster", head.cluster],
    ["startedBy", dagRun && [dagRun.run_type, dagRun.triggering_user_name].filter(Boolean).join(", ")],
    ["elapsed", dagRun?.start_date && duration(between(dagRun.start_date, dagRun.end_date))],
    ["left", training && training.step < training.total && training.eta],
    ["gpuHours", head.gpu_hours != null && head.gpu_hours.toFixed(2)],
    ["version", head.version],
    ["servedBefore", head.champion],
  ];
  return (
    <>
      {head.same_as && <p className="notice">{text("nothingNew", { run: head.same_as })}</p>}
      {head.verdict && (
        <p className={head.verdict.startsWith("passed") ? "notice" : "notice bad-notice"}>
          <strong>{text("verdict")}:</strong> {head.verdict}
          {head.matched_before != null && head.matched_after != null && head.questions != null && (
            <> · {head.matched_before} → {head.matched_after} / {head.questions}</>
          )}
        </p>
      )}
      <dl className="facts">
        {facts
          .filter(([, value]) => value)
          .map(([key, value]) => (
            <div key={key}>
              <dt>{text(key)}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </>
  );
}

const CURVES: [keyof Pick<Schema["Series"], "loss" | "lr" | "seconds_per_step" | "tokens_per_second">, Key][] = [
  ["loss", "loss"],
  ["lr", "lr"],
  ["seconds_per_step", "secondsPerStep"],
  ["tokens_per_second", "tokensPerSecond"],
];

function Curves({ run, live }: { run: string; live: boolean }) {
  const text = useText();
  const [logScale, setLogScale] = useState(false);
  const [smoothing, setSmoothing] = useState(0);
  const curves = useCurves(run, live ? LIVE_MS : 0);
  if (!curves?.loss.x.length) return <p className="muted">{text("noIterations")}</p>;
  return (
    <>
      <div className="bar">
        <h2>{text("training")}</h2>
        <label className="end">
          <input type="checkbox" checked={logScale} onChange={(e) => setLogScale(e.target.checked)} /> {text("logScale")}
        </label>
        <label>
          {text("smoothing")}{" "}
          <input type="range" min="0" max="0.98" step="0.02" value={smoothing} onChange={(e) => setSmoothing(Number(e.target.value))} />
        </label>
      </div>
      <div className="charts">
        {CURVES.filter(([name]) => curves[name].y.some((value) => value !== null)).map(([name, key]) => (
          <Chart
            key={name}
            title={text(key)}
            curve={curves[name]}
            logScale={logScale && name === "loss"}
            smoothing={name === "loss" ? smoothing : 0}
          />
        ))}
      </div>
    </>
  );
}

function Hosts({ run, live }: { run: string; live: boolean }) {
  const text = useText();
  const hosts = useApi<Schema["Host"][]>(runPath(run, "/hosts"), live ? LIVE_MS : 0).data;
  const gpus = useApi<Schema["GpuLine"][]>(withQuery(runPath(run, "/gpus"), { points: 200 }), live ? 5 * LIVE_MS : 0).data;
  const [log, setLog] = useState<string | null>(null);
  if (!hosts) return null;
  return (
    <>
      <h2>{text("hosts")}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("host")}</th>
            <th scope="col">{text("state")}</th>
            <th scope="col" className="number">{text("ranks")}</th>
            <th scope="col">{text("gpu")}</th>
            <th scope="col">{text("lastLines")}</th>
          </tr>
        </thead>
        <tbody>
          {hosts.map((host) => (
            <tr key={host.name}>
              <th scope="row">{host.name}</th>
              <td>{host.state || "–"}</td>
              <td className="number">{host.processes}</td>
              <td>
                {gpus?.filter((gpu) => gpu.host === host.name).map((gpu) => (
                  <div key={gpu.gpu}>
                    {gpu.gpu}: {gpu.use.at(-1) != null && percent((gpu.use.at(-1) ?? 0) / 100)} · {gpu.memory_used.at(-1)} / {gpu.memory_total} MiB
                  </div>
                ))}
              </td>
              <td>
                {host.logs.map((name) => (
                  <button key={name} type="button" aria-pressed={log === name} onClick={() => setLog(log === name ? null : name)}>
                    {name}
                  </button>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {log && <LogTail run={run} name={log} live={live} />}
    </>
  );
}

function LogTail({ run, name, live }: { run: string; name: string; live: boolean }) {
  const text = useText();
  const { data, error } = useApi<Schema["Log"]>(withQuery(runPath(run, `/logs/${encodeURIComponent(name)}`), { lines: 200 }), live ? LIVE_MS : 0);
  return <pre tabIndex={0} aria-label={name}>{data?.text ?? error?.message ?? text("loading")}</pre>;
}

function Chain({ dagId, runId, live }: { dagId: string; runId: string; live: boolean }) {
  const text = useText();
  const tasks = useTaskInstances(dagId, runId, live ? LIVE_MS : 0).data?.task_instances;
  const ordered = useMemo(() => tasks && [...tasks].sort(byRecency), [tasks]);
  if (!ordered) return null;
  return (
    <>
      <h2>{text("chain")}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("task")}</th>
            <th scope="col">{text("state")}</th>
            <th scope="col" className="number">{text("duration")}</th>
            <th scope="col" className="number">{text("tries")}</th>
            <th scope="col">{text("at")}</th>
          </tr>
        </thead>
        <tbody>
          {ordered.map((task) => (
            <tr key={`${task.task_id} ${task.map_index}`}>
              <th scope="row">
                <a href={taskAddress(dagId, runId, task)}>
                  {task.task_id}
                  {task.map_index >= 0 && ` [${task.map_index}]`}
                </a>
              </th>
              <td className={task.state === "failed" ? "bad" : task.state === "success" ? "good" : undefined}>{task.state ?? "–"}</td>
              <td className="number">{task.start_date ? duration(between(task.start_date, task.end_date)) : ""}</td>
              <td className="number">{task.try_number || ""}</td>
              <td>{task.start_date && moment(task.start_date)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

/** What runs comes first, then what ended last, then what has not begun. */
function byRecency(a: TaskInstance, b: TaskInstance): number {
  const rank = (task: TaskInstance) => (task.state && RUNNING.has(task.state) && task.start_date ? 0 : task.start_date ? 1 : 2);
  return rank(a) - rank(b) || (b.start_date ?? "").localeCompare(a.start_date ?? "");
}

function taskAddress(dagId: string, runId: string, task: TaskInstance): string {
  const parts = ["dags", dagId, "runs", runId, "tasks", task.task_id];
  const mapped = task.map_index >= 0 ? ["mapped", String(task.map_index)] : [];
  return new URL([...parts, ...mapped].map(encodeURIComponent).join("/"), document.baseURI).href;
}
