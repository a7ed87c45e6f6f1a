import { useMemo, useState } from "react";
import { AIRFLOW_MS, isRunning, taskAddress, useTaskInstances, type DagRun, type Schema, type TaskInstance } from "../api";
import { Chart } from "../Chart";
import { between, commit, duration, moment } from "../format";
import { RunEstimate } from "../estimate/RunEstimate";
import { useText, type Key } from "../i18n";
import { HeldTask } from "../queue/Waiting";
import { Failure } from "./Failure";
import type { StreamState } from "./stream";
import { Strip } from "./Strip";
import { Timeline } from "./Timeline";
import type { Curves as CurvesOfRun } from "./useCurves";

interface Props {
  dagId: string;
  runId: string;
  head: Schema["RunHead"];
  dagRun: DagRun | undefined;
  curves: CurvesOfRun | undefined;
  state: StreamState;
  live: boolean;
}

export function Overview({ dagId, runId, head, dagRun, curves, state, live }: Props) {
  const tasks = useTaskInstances(dagId, runId, live ? AIRFLOW_MS : 0).data?.task_instances;
  const run = head.key;
  return (
    <>
      {live && <HeldTask dagId={dagId} runId={runId} tasks={tasks} />}
      <Failure dagId={dagId} runId={runId} run={run} state={state} tasks={tasks} hasFailed={dagRun?.state === "failed"} />
      <Facts head={head} dagRun={dagRun} live={live} />
      <Curves curves={curves} />
      <Strip run={run} state={state} live={live} />
      <Timeline run={run} state={state} tasks={tasks} endedAt={live ? null : dagRun?.end_date} />
      <RunEstimate run={run} live={live} />
      {tasks && <Chain dagId={dagId} runId={runId} tasks={tasks} />}
    </>
  );
}

function Facts({ head, dagRun, live }: { head: Schema["RunHead"]; dagRun: DagRun | undefined; live: boolean }) {
  const text = useText();
  const training = head.training;
  const facts: [Key, React.ReactNode][] = [
    ["state", <strong>{dagRun?.state ?? head.state}</strong>],
    ["data", <>{head.dataset_repo} @ <code>{commit(head.dataset_commit)}</code></>],
    ["recipe", head.recipe],
    ["cluster", head.cluster],
    ["startedBy", dagRun && [dagRun.run_type, dagRun.triggering_user_name].filter(Boolean).join(", ")],
    ["elapsed", dagRun?.start_date && duration(between(dagRun.start_date, dagRun.end_date))],
    ["step", training && `${training.step} / ${training.total}`],
    ["left", live && training && training.step < training.total && training.eta],
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

function Curves({ curves }: { curves: CurvesOfRun | undefined }) {
  const text = useText();
  const [logScale, setLogScale] = useState(false);
  const [smoothing, setSmoothing] = useState(0);
  if (!curves) return <p className="muted">{text("loading")}</p>;
  if (!curves.loss.x.length) return <p className="muted">{text("noIterations")}</p>;
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

function Chain({ dagId, runId, tasks }: { dagId: string; runId: string; tasks: TaskInstance[] }) {
  const text = useText();
  const ordered = useMemo(() => [...tasks].sort(byRecency), [tasks]);
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
  const rank = (task: TaskInstance) => (isRunning(task.state) && task.start_date ? 0 : task.start_date ? 1 : 2);
  return rank(a) - rank(b) || (b.start_date ?? "").localeCompare(a.start_date ?? "");
}
