import type { Schema } from "../api";

/** A word for a shell: as it is where that is safe, else in single quotes; a leading ~/ is left to the shell. */
export function quoted(word: string): string {
  if (word.startsWith("~/")) return word.length === 2 ? word : `~/${quoted(word.slice(2))}`;
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

/** What a person would type on a host to run its command by hand. */
export function commandText({ cwd, path_prefix, env, command }: Schema["HostCommand"]): string {
  const exports = Object.entries(env ?? {}).map(([name, value]) => `export ${name}=${value.split(":").map(quoted).join(":")}`);
  const path = path_prefix ? [`export PATH=${quoted(path_prefix)}:$PATH`] : [];
  return [`cd ${quoted(cwd)}`, ...path, ...exports, command].join("\n");
}
