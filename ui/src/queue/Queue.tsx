import { commit as short, moment } from "../format";
import { named, useText, type Translate } from "../i18n";
import { Filled, Reason, RunLink, TaskLink } from "./Reason";
import type { QueuedRun, Waiting } from "./queue";
import { useQueue } from "./useQueue";

/** What trains now; then, in order, what waits, since when and why. */
export function Queue() {
  const text = useText();
  const queue = useQueue();
  if (!queue) return null;
  const { dag, running, waiting, more } = queue;
  const isEmpty = running.length === 0 && waiting.length === 0;
  return (
    <section className="queue" aria-label={text("queue")}>
      <h2>{text("queue")}</h2>
      {dag.is_paused && <p className="notice bad-notice">{text("queuePaused")}</p>}
      {isEmpty ? (
        <p className="muted">
          {text("queueEmpty")} {dag.next_dagrun_run_after && !dag.is_paused && text("queueUntil", { at: moment(dag.next_dagrun_run_after) })}
        </p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">{text("place")}</th>
              <th scope="col">{text("runOrCommit")}</th>
              <th scope="col">{text("startedBy")}</th>
              <th scope="col">{text("data")}</th>
              <th scope="col">{text("sinceUtc")}</th>
              <th scope="col">{text("waitingFor")}</th>
            </tr>
          </thead>
          <tbody>
            {running.map(({ run, task }) => (
              <tr key={run.dag_run_id}>
                <th scope="row" className="good">{text("placeNow")}</th>
                <RunCells run={run} since={run.start_date ?? run.run_after} />
                <td>{task && <Filled sentence={text("inTask")} task={<TaskLink task={task} />} />}</td>
              </tr>
            ))}
            {waiting.map((one) => (
              <WaitingRow key={one.run?.dag_run_id ?? one.commit?.commit} {...one} />
            ))}
          </tbody>
        </table>
      )}
      {more > 0 && <p className="muted">{text("queueMore", { n: more })}</p>}
    </section>
  );
}

function WaitingRow({ place, run, commit, why }: Waiting) {
  const text = useText();
  return (
    <tr>
      <th scope="row">{place ?? "–"}</th>
      {run && <RunCells run={run} since={(run.state === "running" && run.start_date) || run.queued_at || run.run_after} />}
      {commit && (
        <>
          <td className="text">{commit.title}</td>
          <td>{text("queueCommit")}</td>
          <td>
            <code>{short(commit.commit)}</code>
          </td>
          <td>{moment(commit.first_seen)}</td>
        </>
      )}
      <td>
        <Reason why={why} />
      </td>
    </tr>
  );
}

function RunCells({ run, since }: { run: QueuedRun; since: string }) {
  const text = useText();
  const revision = commitOf(run);
  return (
    <>
      <td>
        <RunLink runId={run.dag_run_id} />
      </td>
      <td>{startedBy(text, run)}</td>
      <td>{revision && <code>{short(revision)}</code>}</td>
      <td>{moment(since)}</td>
    </>
  );
}

const startedBy = (text: Translate, run: QueuedRun) =>
  [named(text, "type", run.run_type), run.triggering_user_name].filter(Boolean).join(", ");

/** A partition is a commit, or a night whose commit the run itself looks for. */
const commitOf = (run: QueuedRun) => (/^[0-9a-f]{40}$/.test(run.partition_key ?? "") ? run.partition_key : undefined);
