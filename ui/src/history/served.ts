import type { Schema } from "../api";

type Promotion = Schema["ServedVersion"];
export type RunLine = Schema["RunLine"];

/** The promotion that held at a moment; undefined when nothing was served. Promotions are oldest first. */
export function servedAt(promotions: Promotion[], moment: number): Promotion | undefined {
  return promotions.findLast((promotion) => Date.parse(promotion.at) <= moment);
}

/** Runs in their order, where neighbours that had nothing new stand together in one group. */
export function folded(runs: RunLine[]): RunLine[][] {
  const groups: RunLine[][] = [];
  for (const run of runs) {
    const last = groups.at(-1);
    if (run.state === "nothing_new" && last?.[0]?.state === "nothing_new") last.push(run);
    else groups.push([run]);
  }
  return groups;
}

/** GPU-hours for each point of the score that a version gained; null where it gained none or has no hours. */
export function hoursPerPoint(version: Schema["VersionLine"]): number | null {
  const { matched, matched_before: before, questions, gpu_hours: hours } = version;
  if (matched == null || before == null || !questions || !hours || matched <= before) return null;
  return hours / ((100 * (matched - before)) / questions);
}
