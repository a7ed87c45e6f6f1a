import { expect, test } from "vitest";
import { filtered, FILTERS, options, type Filter, type QuestionLine } from "./filter";

const answer = { sql: "SELECT 1", outcome: "match", failure_class: null, error_class: null, correct: true, vacuous: false };
const line = (fields: Partial<QuestionLine>): QuestionLine => ({
  id: "q",
  question: "年龄？",
  gold: "SELECT age FROM head",
  database_name: "db",
  language: "zh",
  hardness: "easy",
  clauses: [],
  guarded: false,
  left_out: null,
  flags: [],
  change: "gained",
  before: answer,
  after: answer,
  ...fields,
});
const none = Object.fromEntries(FILTERS.map((name) => [name, null])) as Filter;

test("without a filter every question stays that enters the numbers", () => {
  expect(filtered([line({}), line({}), line({ left_out: "reference_prompt" })], none)).toHaveLength(2);
});

test("a reference prompt is in its own group, whatever became of it", () => {
  const reference = line({ left_out: "reference_prompt" });
  expect(filtered([reference], { ...none, change: "gained" })).toEqual([]);
  expect(filtered([reference, line({})], { ...none, change: "reference_prompt" })).toEqual([reference]);
});

test("text is found in the SQL in any case", () => {
  expect(filtered([line({ gold: "SELECT MAX(a)" }), line({})], { ...none, text: "max(" })).toHaveLength(1);
});

const broken = line({ after: { ...answer, outcome: "invalid", failure_class: "other" } });
const wrong = line({ after: { ...answer, outcome: "mismatch", error_class: "other" } });
const empty = line({ after: { ...answer, vacuous: true } });
const doubtful = line({ flags: [{ reason: "tie_at_limit", detail: "…" }] });
const clauses = line({ clauses: ["where", "limit"] });

test.each<[string, Partial<Filter>, QuestionLine]>([
  ["an answer that does not run", { outcome: "invalid" }, broken],
  ["one of a failure class", { outcome: "invalid.other" }, broken],
  ["a wrong answer", { outcome: "mismatch" }, wrong],
  ["one of an error class", { outcome: "mismatch.other" }, wrong],
  ["a match of empty results", { outcome: "vacuous" }, empty],
  ["a doubtful gold query", { doubt: "any" }, doubtful],
  ["one of a reason", { doubt: "tie_at_limit" }, doubtful],
  ["a clause", { clause: "limit" }, clauses],
])("%s is found", (_, chosen, expected) => {
  expect(filtered([line({}), broken, wrong, empty, doubtful, clauses], { ...none, ...chosen })).toEqual([expected]);
});

test("what all questions have in common is no choice", () => {
  expect(options([line({}), line({})], "language")).toEqual([]);
  expect(options([line({}), line({ language: "en" })], "language")).toEqual(["en", "zh"]);
});

test("what one of them has is one", () => {
  expect(options([line({}), doubtful], "doubt")).toEqual(["any", "tie_at_limit"]);
});
