import { DAG_ID, type TaskInstance } from "../api";
import { useText } from "../i18n";
import { waitOf } from "./queue";
import { Reason } from "./Reason";
import { useQueue } from "./useQueue";

interface Props {
  dagId: string;
  runId: string;
  state: string | undefined;
}

/** The place of a run that is queued, and why it waits. */
export function QueuedRun({ dagId, runId, state }: Props) {
  return state === "queued" && dagId === DAG_ID ? <Place runId={runId} /> : null;
}

function Place({ runId }: { runId: string }) {
  const text = useText();
  const own = useQueue()?.waiting.find(({ run }) => run?.dag_run_id === runId);
  if (!own) return null;
  return (
    <p className="notice" role="status">
      <strong>{text("placeOf", { place: own.place ?? "–" })}</strong> <Reason why={own.why} />
    </p>
  );
}

/** Why a run that Airflow has started waits in one of its tasks. */
export function HeldTask({ dagId, runId, tasks }: { dagId: string; runId: string; tasks: TaskInstance[] | undefined }) {
  const task = tasks?.find(waitOf);
  const kind = task && waitOf(task);
  if (!kind || dagId !== DAG_ID) return null;
  return (
    <p className="notice" role="status">
      <Reason why={{ kind, task: { ...task, dag_run_id: runId } }} />
    </p>
  );
}
