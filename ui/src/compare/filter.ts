import type { Schema } from "../api";

export type QuestionLine = Schema["QuestionLine"];

/** What the list of questions is filtered by; each stands in the address under its name. */
export const FILTERS = ["change", "outcome", "language", "hardness", "database", "text"] as const;
export type Filter = Record<(typeof FILTERS)[number], string | null>;

/** The questions that a filter leaves, in their order. Text is looked for in question and SQL, in any case. */
export function filtered(questions: QuestionLine[], filter: Filter): QuestionLine[] {
  const text = filter.text?.toLowerCase();
  return questions.filter(
    (q) =>
      (!filter.change || q.change === filter.change) &&
      (!filter.outcome || outcomeOf(q) === filter.outcome) &&
      (!filter.language || q.language === filter.language) &&
      (!filter.hardness || q.hardness === filter.hardness) &&
      (!filter.database || q.database === filter.database) &&
      (!text || [q.question, q.gold, q.before.sql, q.after.sql].some((part) => part.toLowerCase().includes(text))),
  );
}

/** What became of the candidate's answer: its error or failure class where it has one, else its outcome. */
export const outcomeOf = ({ after }: QuestionLine): string => after.failure_class ?? after.error_class ?? after.outcome;
