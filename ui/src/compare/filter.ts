import type { Schema } from "../api";

export type QuestionLine = Schema["QuestionLine"];

/** What became of a question that enters the numbers: each of them is in exactly one of these. */
export const BUCKETS = ["gained", "lost", "both_wrong", "both_right"] as const;
/** Why a question enters no number: these stand beside the buckets. */
export const LEFT_OUT = ["reference_prompt", "gold_does_not_run"] as const;

/** What the list of questions is filtered by; each stands in the address under its name. */
export const FILTERS = ["change", "outcome", "doubt", "guarded", "language", "hardness", "clause", "database", "text"] as const;
export type FilterName = (typeof FILTERS)[number];
export type Filter = Record<FilterName, string | null>;

/** Value of the filter `doubt` for whatever reason there is. */
export const ANY = "any";

export const groupOf = (q: QuestionLine) => q.left_out ?? q.change;

/** The values that a question has of what can be chosen; it is found by each of them. */
export const VALUES = {
  outcome: outcomesOf,
  doubt: (q) => (q.flags.length ? [ANY, ...q.flags.map((flag) => flag.reason)] : []),
  guarded: (q) => [q.guarded ? "yes" : "no"],
  language: (q) => [q.language],
  hardness: (q) => [q.hardness],
  clause: (q) => q.clauses,
  database: (q) => (q.database_name ? [q.database_name] : []),
} satisfies Partial<Record<FilterName, (q: QuestionLine) => string[]>>;
export type ChoiceName = keyof typeof VALUES;
const CHOICES = Object.entries(VALUES) as [ChoiceName, (q: QuestionLine) => string[]][];

/**
 * The questions that a filter leaves, in their order; without a group, those that enter the numbers. Text is
 * looked for in question and SQL, in any case.
 */
export function filtered(questions: QuestionLine[], filter: Filter): QuestionLine[] {
  const text = filter.text?.toLowerCase();
  const chosen = CHOICES.filter(([name]) => filter[name]);
  return questions.filter(
    (q) =>
      (filter.change ? groupOf(q) === filter.change : q.left_out === null) &&
      chosen.every(([name, values]) => values(q).includes(filter[name] ?? "")) &&
      (!text || [q.question, q.gold, q.before.sql, q.after.sql].some((part) => part.toLowerCase().includes(text))),
  );
}

/** What became of the candidate's answer, as `outcome` and, where it has one, `outcome.class`. */
function outcomesOf({ after }: QuestionLine): string[] {
  const detail = after.failure_class ?? after.error_class;
  if (after.vacuous) return [after.outcome, "vacuous"];
  return detail ? [after.outcome, `${after.outcome}.${detail}`] : [after.outcome];
}

/** The values that occur, each once; none where all questions are alike. */
export function options(questions: QuestionLine[], name: ChoiceName): string[] {
  const values = VALUES[name];
  const count = new Map<string, number>();
  for (const q of questions) for (const value of values(q)) count.set(value, (count.get(value) ?? 0) + 1);
  const distinguishes = [...count.values()].some((n) => n < questions.length);
  return distinguishes ? [...count.keys()].sort() : [];
}
