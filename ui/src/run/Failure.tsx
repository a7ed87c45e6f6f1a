import { taskAddress, useTaskLog, type LogEntry, type Schema, type TaskInstance } from "../api";
import { useText, type Key, type Translate } from "../i18n";
import { useLive, type StreamState } from "./stream";

interface Props {
  dagId: string;
  runId: string;
  run: string;
  state: StreamState;
  tasks: TaskInstance[] | undefined;
  /** Whether Airflow says that the run has failed. */
  hasFailed: boolean;
}

/** A run that failed begins with the cause. */
export function Failure({ dagId, runId, run, state, tasks, hasFailed }: Props) {
  const { data } = useLive<Schema["FailureAnswer"]>(run, "failure", state);
  const failed = tasks?.find((task) => task.state === "failed");
  if (data?.failure) {
    const of = tasks?.filter((one) => one.task_id === data.failure?.task);
    const task = of?.find((one) => one.state === "failed") ?? of?.[0];
    // A saved report has no list of tasks; a gang's task is not mapped.
    const address = taskAddress(dagId, runId, task ?? { task_id: data.failure.task, map_index: -1 });
    return <Recorded failure={data.failure} log={address} />;
  }
  // What is no gang leaves its reason in its log only.
  return hasFailed && failed ? <OfTask dagId={dagId} runId={runId} task={failed} /> : null;
}

function Recorded({ failure, log }: { failure: Schema["Failure"]; log: string | undefined }) {
  const text = useText();
  const name = failure.rank != null ? `${failure.host} rank ${failure.rank}` : failure.host;
  const facts: [Key, React.ReactNode][] = [
    ["whatToDo", failure.remedy && text(`remedy_${failure.remedy}`)],
    ["firstError", failure.first_errors.length > 0 && failure.first_errors.map((line) => <div key={line} className="text">{line}</div>)],
    ["retry", failure.retry],
    ["reason", failure.reason && <span className="text">{failure.reason}</span>],
  ];
  return (
    <section className="notice bad-notice" aria-label={text("failureTitle", { task: failure.task })}>
      <strong>{text("failureTitle", { task: failure.task })}.</strong> {sentence(failure, text)}
      <dl className="pairs">
        {facts
          .filter(([, value]) => value)
          .map(([key, value]) => (
            <div key={key}>
              <dt>{text(key)}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
      {failure.tail && (
        <details>
          <summary>{text("lastLinesOf", { name: name ?? failure.task })}</summary>
          <pre tabIndex={0} aria-label={text("lastLinesOf", { name: name ?? failure.task })}>{failure.tail}</pre>
        </details>
      )}
      {log && <a href={log}>{text("taskLog")}</a>}
    </section>
  );
}

/** Who failed first, how, and at which step. */
function sentence(failure: Schema["Failure"], text: Translate): string {
  const who = { rank: failure.rank ?? "", host: failure.host ?? "", exit: failure.exit };
  const cause = text(`cause_${failure.cause}`, who).replace(/[:：]\s*$/, "");
  if (failure.step == null || failure.total == null) return cause;
  return `${cause} · ${text("atStep", { step: failure.step, total: failure.total })}`;
}

function OfTask({ dagId, runId, task }: { dagId: string; runId: string; task: TaskInstance }) {
  const text = useText();
  const { data } = useTaskLog(dagId, runId, task);
  return (
    <section className="notice bad-notice" aria-label={text("failureTitle", { task: task.task_id })}>
      <strong>{text("failureTitle", { task: task.task_id })}.</strong>
      <div className="text">{lastError(data?.content ?? []) ?? text("cause_task")}</div>
      <a href={taskAddress(dagId, runId, task)}>{text("taskLog")}</a>
    </section>
  );
}

/** The last thing that a task's log calls an error: its message, and not where it was raised. */
export function lastError(content: LogEntry[]): string | undefined {
  const entry = content.findLast((one) => one.error_detail?.length || one.level === "error" || one.level === "critical");
  return entry?.error_detail?.at(-1)?.exc_value ?? entry?.event;
}
