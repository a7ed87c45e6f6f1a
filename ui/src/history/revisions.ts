import { ApiError, apiUrl, type Schema } from "../api";

export type RevisionLine = Schema["RevisionLine"];

/** Ticked commits in the branch's order, the oldest first: the order in which they are trained. */
export const inOrder = (revisions: RevisionLine[], ticked: ReadonlySet<string>) =>
  [...revisions].reverse().filter((r) => ticked.has(r.commit));

/**
 * GPU-hours that training these revisions will take, as the ones before did: its own where it was trained, and
 * else those of the last one that was. Undefined where none was.
 */
export function expectedHours(revisions: RevisionLine[], chosen: RevisionLine[]): number | undefined {
  const last = revisions.find((r) => r.gpu_hours != null)?.gpu_hours;
  if (last == null || chosen.length === 0) return undefined;
  return chosen.reduce((sum, r) => sum + (r.gpu_hours ?? last), 0);
}

/** Start a run for a revision: by Airflow's own REST API, which asks for the user's rights. */
export async function startRun(dagId: string, revision: RevisionLine, now: Date): Promise<string> {
  const response = await fetch(apiUrl(`api/v2/dags/${dagId}/dagRuns`), {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({
      dag_run_id: `manual__${now.toISOString()}__${revision.commit.slice(0, 12)}`,
      logical_date: null,
      partition_key: revision.commit,
      conf: revision.state === "trained" ? { force: true } : {},
    }),
  });
  const body = (await response.json().catch(() => null)) as { dag_run_id?: string; detail?: unknown } | null;
  if (!response.ok || !body?.dag_run_id)
    throw new ApiError(response.status, typeof body?.detail === "string" ? body.detail : response.statusText);
  return body.dag_run_id;
}
