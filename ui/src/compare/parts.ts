import type { Schema } from "../api";

type Tally = Schema["Tally"];

/** A part of the suite, and both models' counts in it. */
export interface Part {
  name: string;
  tallies: Record<string, Tally | undefined>;
  /** Share of correct answers, after minus before; null where one of them has not answered. */
  change: number | null;
}

/** Pair the parts of several scores, in the order of the first one that has each. */
export function parts(sides: { name: string; tallies: Record<string, Tally> }[]): Part[] {
  const names = [...new Set(sides.flatMap((side) => Object.keys(side.tallies)))];
  return names.map((name) => {
    const tallies = Object.fromEntries(sides.map((side) => [side.name, side.tallies[name]]));
    return { name, tallies, change: change(tallies.before, tallies.after) };
  });
}

const share = ({ matched, evaluated }: Tally) => matched / Math.max(evaluated, 1);

const change = (before: Tally | undefined, after: Tally | undefined) =>
  before && after ? share(after) - share(before) : null;

/** Those that lost most come first, those that gained most last. */
export const byChange = (all: Part[]): Part[] =>
  [...all].sort((a, b) => (a.change ?? 0) - (b.change ?? 0) || a.name.localeCompare(b.name, "en", { numeric: true }));

/** Both ends of a long list, and how many are between them. */
export function ends(all: Part[], each: number): { first: Part[]; hidden: number; last: Part[] } {
  if (all.length <= 2 * each + 1) return { first: all, hidden: 0, last: [] };
  return { first: all.slice(0, each), hidden: all.length - 2 * each, last: all.slice(-each) };
}
