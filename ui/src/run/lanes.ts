import type { Schema, TaskInstance } from "../api";
import type { Key } from "../i18n";

type Attempt = Schema["Attempt"];

/** A stretch of time in which one thing happens. */
export interface Phase {
  kind: Extract<Key, `phase_${string}`>;
  from: number;
  to: number;
  failed?: boolean;
}

/** A moment. */
export interface Mark {
  kind: Extract<Key, `mark_${string}`>;
  at: number;
  /** The step, where the kind has one. */
  n?: number;
}

/** One row of the timeline: a task of the chain, or an attempt of its gang. Times are milliseconds. */
export interface Lane {
  label: string;
  phases: Phase[];
  marks: Mark[];
}

/** The task whose gang takes steps. */
const TRAINING = "train";

const ms = (iso: string | null | undefined) => (iso ? Date.parse(iso) : undefined);

/** What happened to the tasks and gangs of a run, earliest first. */
export function lanes(tasks: TaskInstance[], attempts: Attempt[], now: number): Lane[] {
  const ofTasks = tasks.filter((task) => !attempts.some((a) => a.task === task.task_id)).map((task) => taskLane(task, now));
  const ofGangs = attempts.map((attempt) => attemptLane(attempt, waitOf(attempt, attempts, tasks), now));
  return [...ofTasks, ...ofGangs].filter((lane) => lane.phases.length > 0).sort((a, b) => start(a) - start(b));
}

/** The time that the lanes cover. */
export function span(shown: Lane[]): [number, number] {
  const ends = shown.flatMap((lane) => [...lane.phases.flatMap((p) => [p.from, p.to]), ...lane.marks.map((m) => m.at)]);
  return ends.length ? [Math.min(...ends), Math.max(...ends, Math.min(...ends) + 1000)] : [0, 1];
}

const start = (lane: Lane) => lane.phases[0]?.from ?? Infinity;

function taskLane(task: TaskInstance, now: number): Lane {
  const [queued, began] = [ms(task.queued_when), ms(task.start_date)];
  const ended = ms(task.end_date) ?? now;
  const phases: Phase[] = [];
  if (queued !== undefined && (began ?? now) > queued) phases.push({ kind: "phase_queued", from: queued, to: began ?? now });
  if (began !== undefined) phases.push({ kind: "phase_task", from: began, to: ended, failed: task.state === "failed" });
  const label = task.map_index >= 0 ? `${task.task_id} [${task.map_index}]` : task.task_id;
  return { label, phases, marks: [] };
}

/**
 * Since when an attempt's task had waited for it. Airflow keeps this moment of the last time that it queued the
 * task: that may be a later try, or the end of a deferral.
 */
function waitOf(attempt: Attempt, attempts: Attempt[], tasks: TaskInstance[]): number | undefined {
  const queued = ms(tasks.find((task) => task.task_id === attempt.task)?.queued_when);
  if (queued === undefined) return undefined;
  const next = attempts.find((other) => other.task === attempt.task && (ms(other.submitted_at) ?? 0) > queued);
  return next === attempt ? queued : undefined;
}

function attemptLane(attempt: Attempt, queued: number | undefined, now: number): Lane {
  const end = ms(attempt.ended_at) ?? ms(attempt.stopped_at) ?? (attempt.state === "running" ? now : ms(attempt.last_step_at));
  // Each phase goes on until the next one that is known: what an attempt did not reach takes no time.
  const beginnings: [Phase["kind"], number | undefined][] = [
    ["phase_queued", queued],
    ["phase_prepare", ms(attempt.submitted_at)],
    ["phase_start", ms(attempt.prepared_at)],
    ["phase_rendezvous", ms(attempt.started_at)],
    [attempt.task === TRAINING ? "phase_load" : "phase_task", ms(attempt.ranks_started_at)],
    ["phase_steps", ms(attempt.first_step_at)],
    ["phase_finish", attempt.state === "running" ? undefined : ms(attempt.last_step_at)],
    ["phase_stop", ms(attempt.stopping_at)],
  ];
  const known = beginnings.flatMap(([kind, from]) => (from === undefined ? [] : [{ kind, from }]));
  const failed = attempt.state === "failed";
  const phases = known.map(({ kind, from }, i) => {
    const next = known[i + 1]?.from ?? end ?? from;
    return { kind, from, to: Math.max(from, next), failed: failed && i === known.length - 1 };
  });
  return { label: `${attempt.task} · ${attempt.attempt.split("-")[0]}`, phases: phases.filter((p) => p.to > p.from), marks: marks(attempt) };
}

function marks(attempt: Attempt): Mark[] {
  const began = ms(attempt.submitted_at);
  const ended = ms(attempt.stopping_at) ?? ms(attempt.ended_at);
  return [
    ...(attempt.resumed_from && began !== undefined ? [{ kind: "mark_resumed", at: began, n: attempt.resumed_from } as const] : []),
    ...attempt.reconnected_at.map((at) => ({ kind: "mark_reconnected", at: Date.parse(at) }) as const),
    ...attempt.takeovers.map(({ at, step }) => ({ kind: "mark_taken_over", at: Date.parse(at), n: step }) as const),
    ...attempt.checkpoints.map(({ at, step }) => ({ kind: "mark_checkpoint", at: Date.parse(at), n: step }) as const),
    ...(attempt.state === "failed" && ended !== undefined ? [{ kind: "mark_failed", at: ended } as const] : []),
    ...(attempt.state === "stopped" && attempt.stopped_at ? [{ kind: "mark_killed", at: Date.parse(attempt.stopped_at) } as const] : []),
  ];
}

/** Moments at which an axis has a tick: whole seconds, minutes or hours, about `count` of them. */
export function ticks([from, to]: [number, number], count = 8): number[] {
  const sizes = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400].map((s) => s * 1000);
  const size = sizes.find((candidate) => (to - from) / candidate <= count) ?? Math.ceil((to - from) / count / 86_400_000) * 86_400_000;
  const first = Math.ceil(from / size) * size;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / size) + 1) }, (_, i) => first + i * size);
}

const HOUR = 3_600_000;

/** What stands at a tick, in UTC: the day where the axis covers several, else hours and minutes, or seconds. */
export function tickLabel(at: number, [from, to]: [number, number]): string {
  const iso = new Date(at).toISOString();
  if (to - from > 48 * HOUR) return iso.slice(5, 10);
  return iso.slice(11, to - from > HOUR / 4 ? 16 : 19);
}
