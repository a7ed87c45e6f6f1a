import { expect, test } from "vitest";
import { markTokens } from "./tokens";

const marked = (sql: string, other: string) =>
  markTokens(sql, other)
    .filter((token) => token.differs)
    .map((token) => token.text);

test("equal queries have nothing marked", () => {
  expect(marked("SELECT a FROM t", "select  a\nfrom t")).toEqual([]);
});

test("another column is marked, and nothing else", () => {
  expect(marked("SELECT b FROM t WHERE c > 1", "SELECT a FROM t WHERE c > 1")).toEqual(["b"]);
});

test("a token that comes twice is marked once", () => {
  expect(marked("SELECT a, a FROM t", "SELECT a FROM t")).toHaveLength(2);
});

test("case matters in a string", () => {
  expect(marked("SELECT 'A'", "SELECT 'a'")).toEqual(["'A'"]);
});

test("a Chinese name is one token", () => {
  expect(marked("SELECT 部门 FROM t", "SELECT 年龄 FROM t")).toEqual(["部门"]);
});

test("the pieces are the query again", () => {
  const sql = "SELECT  count(*)\n FROM \"T\" WHERE a>=1 AND b='it''s'";
  expect(markTokens(sql, "SELECT 1").map((token) => token.text).join("")).toBe(sql);
});

test("100 KB of text is answered at once", () => {
  const long = "SELECT a , ".repeat(10_000);
  expect(markTokens(long, long)).not.toHaveLength(0);
});
