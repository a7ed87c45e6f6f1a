import { Fragment, type ReactNode } from "react";
import { AIRFLOW_MS, DAG_ID, runAddress, runPath, taskAddress, useApi, type Schema } from "../api";
import { moment } from "../format";
import { useText, type Key } from "../i18n";
import type { ActiveTask, Why } from "./queue";

/** For what a run or a commit waits, in words, with links to what it waits for. */
export function Reason({ why }: { why: Why }) {
  const text = useText();
  switch (why.kind) {
    case "training":
      return <Filled sentence={text(why.limit > 1 ? "why_trainingMany" : "why_training", { limit: why.limit })} run={<RunLink runId={why.run} />} />;
    case "answer":
    case "backfill":
    case "ended":
      return <Filled sentence={text(`why_${why.kind}`)} run={<RunLink runId={why.run} />} />;
    case "hosts":
      return <Filled sentence={text("why_hosts")} task={<TaskLink task={why.task} />} />;
    case "turn":
      return <Turn task={why.task} />;
    case "later":
    case "quiet":
    case "night":
      return why.at ? text(`why_${why.kind}`, { at: moment(why.at) }) : text("why_nightUnknown");
    default:
      return text(`why_${why.kind}` satisfies Key);
  }
}

/** The run whose turn it is instead: the one that has claimed the same plan. */
function Turn({ task }: { task: ActiveTask }) {
  const text = useText();
  const ahead = useApi<Schema["Turn"]>(runPath(task.dag_run_id, "/turn"), AIRFLOW_MS).data?.ahead;
  return (
    <Filled
      sentence={text(ahead ? "why_turnOf" : "why_turn")}
      task={<TaskLink task={task} />}
      run={ahead && <RunLink dagId={ahead.dag_id} runId={ahead.run_id} />}
    />
  );
}

export const RunLink = ({ dagId = DAG_ID, runId }: { dagId?: string; runId: string }) => <a href={runAddress(dagId, runId)}>{runId}</a>;

export const TaskLink = ({ task }: { task: ActiveTask }) => (
  <a href={taskAddress(DAG_ID, task.dag_run_id, task)}>
    <code>{task.task_id}</code>
  </a>
);

/** A sentence with elements in the places of `{run}` and `{task}`. */
export function Filled({ sentence, ...parts }: { sentence: string; run?: ReactNode; task?: ReactNode }) {
  return sentence
    .split(/(\{run\}|\{task\})/)
    .map((part, i) => <Fragment key={i}>{part === "{run}" ? parts.run : part === "{task}" ? parts.task : part}</Fragment>);
}
