/** A piece of a query, and whether the other query lacks it. */
export interface Token {
  text: string;
  differs: boolean;
}

const PATTERN = /\s+|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[\p{L}\p{N}_.]+|[<>=!]+|./gu;

/** Longest queries, in tokens, that are compared: the comparison takes their product in steps. */
const LIMIT = 1500;

const split = (sql: string) => sql.match(PATTERN) ?? [];
const isBlank = (token: string) => token.trim() === "";

/**
 * Mark the tokens of a query that are not in another one, in order: those outside their longest common
 * subsequence. Case matters only in strings, and spaces never.
 */
export function markTokens(sql: string, other: string): Token[] {
  const tokens = split(sql);
  const mine = tokens.filter((token) => !isBlank(token));
  const theirs = split(other).filter((token) => !isBlank(token));
  const kept = mine.length * theirs.length > LIMIT * LIMIT ? new Set<number>() : commonIndices(mine, theirs);
  let index = -1;
  return tokens.map((text) => {
    if (isBlank(text)) return { text, differs: false };
    index += 1;
    return { text, differs: !kept.has(index) };
  });
}

function commonIndices(mine: string[], theirs: string[]): Set<number> {
  const a = mine.map(comparable);
  const b = theirs.map(comparable);
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  const at = (i: number, j: number) => lengths[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      lengths[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const kept = new Set<number>();
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) {
      kept.add(i);
      i += 1;
      j += 1;
    } else if (at(i + 1, j) >= at(i, j + 1)) i += 1;
    else j += 1;
  }
  return kept;
}

const comparable = (token: string) => (token.startsWith("'") ? token : token.toLowerCase());
