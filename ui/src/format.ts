/** A duration as 1 h 02 min, 3 min 20 s or 4.2 s. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.round(seconds % 60)).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/** A share from 0 to 1 in percent. */
export const percent = (share: number, digits = 0) => `${(100 * share).toFixed(digits)} %`;

/** A difference of shares in percentage points, with its sign. */
export const points = (share: number) => `${share >= 0 ? "+" : "−"}${Math.abs(100 * share).toFixed(1)}`;

/** A moment in UTC, to the minute. */
export const moment = (iso: string) => new Date(iso).toISOString().slice(0, 16).replace("T", " ");

/** A commit as people write it. */
export const commit = (hash: string) => hash.slice(0, 12);

/** Seconds between two moments; up to now where the second is missing. */
export const between = (start: string, end: string | null) =>
  ((end ? Date.parse(end) : Date.now()) - Date.parse(start)) / 1000;

/** A moment in UTC, to the second, without its day. */
export const time = (ms: number) => new Date(ms).toISOString().slice(11, 19);
