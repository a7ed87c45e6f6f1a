import type { Schema } from "../api";
import { duration } from "../format";
import type { Key } from "../i18n";

/** One figure of an estimate, beside what was taken. */
export interface Figure {
  key: Key;
  estimated: string;
  taken: string;
  /** How much more was taken, as a share of the estimate; undefined where either is missing. */
  difference: number | undefined;
}

const whole = (value: number) => value.toLocaleString("en");
const hundredths = (value: number) => value.toFixed(2);
const gib = (value: number) => `${value.toFixed(1)} GiB`;

/** The figures of an estimate that are known, or were taken. */
export function figures(estimate: Schema["Estimate"], taken: Schema["Taken"] | null): Figure[] {
  const memory = estimate.memory.find((needed) => needed.strategy === estimate.strategy)?.total;
  const all: [Key, number | null | undefined, number | null | undefined, (value: number) => string][] = [
    ["iterations", estimate.iterations, taken?.iterations, whole],
    ["optimizerSteps", estimate.optimizer_steps, undefined, whole],
    ["secondsAnIteration", estimate.rate?.seconds, taken?.seconds_per_step, hundredths],
    ["trainingTime", estimate.seconds, taken?.seconds, duration],
    ["gpuHours", estimate.gpu_hours, taken?.gpu_hours, hundredths],
    ["price", estimate.price, taken?.price, hundredths],
    ["memoryOfGpu", memory, taken?.memory, gib],
  ];
  return all
    .filter(([, estimated, was]) => estimated != null || was != null)
    .map(([key, estimated, was, shown]) => ({
      key,
      estimated: estimated == null ? "" : shown(estimated),
      taken: was == null ? "" : shown(was),
      difference: estimated && was != null ? was / estimated - 1 : undefined,
    }));
}

/** A factor, or from where to where. */
export const factor = (low: number, high: number, between: (low: string, high: string) => string) =>
  low === high ? low.toFixed(1) : between(low.toFixed(1), high.toFixed(1));
