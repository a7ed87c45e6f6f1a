import { expect, test } from "vitest";
import { filtered, FILTERS, type Filter, type QuestionLine } from "./filter";

const answer = { sql: "SELECT 1", outcome: "match", failure_class: null, error_class: null, correct: true, vacuous: false };
const line = (fields: Partial<QuestionLine>): QuestionLine => ({
  id: "q",
  question: "年龄？",
  gold: "SELECT age FROM head",
  database: "db",
  language: "zh",
  hardness: "easy",
  guarded: false,
  counted: true,
  change: "gained",
  before: answer,
  after: answer,
  ...fields,
});
const none = Object.fromEntries(FILTERS.map((name) => [name, null])) as Filter;

test("without a filter every question stays", () => {
  expect(filtered([line({}), line({})], none)).toHaveLength(2);
});

test("text is found in the SQL in any case", () => {
  expect(filtered([line({ gold: "SELECT MAX(a)" }), line({})], { ...none, text: "max(" })).toHaveLength(1);
});

test("an answer that does not run is found by its failure class", () => {
  const wrong = line({ after: { ...answer, outcome: "invalid", failure_class: "syntax" } });
  expect(filtered([wrong, line({})], { ...none, outcome: "syntax" })).toEqual([wrong]);
});

test("a wrong answer that runs is found by its error class", () => {
  const wrong = line({ after: { ...answer, outcome: "mismatch", error_class: "join" } });
  expect(filtered([wrong, line({})], { ...none, outcome: "join" })).toEqual([wrong]);
});
