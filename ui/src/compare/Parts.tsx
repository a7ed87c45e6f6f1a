import { memo, useMemo, useState } from "react";
import type { Schema } from "../api";
import { points } from "../format";
import { named, useText, type Key } from "../i18n";
import type { OnFilter } from "./Comparison";
import type { ChoiceName } from "./filter";
import { sidesOf, type Side } from "./Numbers";
import { byChange, ends, parts, type Part } from "./parts";

const TALLIES = {
  language: (side: Schema["Side"]) => side.summary.by_language,
  hardness: (side: Schema["Side"]) => side.summary.by_hardness,
  clause: (side: Schema["Side"]) => side.summary.by_clause,
  database: (side: Schema["Side"]) => side.by_database,
} satisfies Partial<Record<ChoiceName, (side: Schema["Side"]) => Record<string, Schema["Tally"]>>>;
type Kind = keyof typeof TALLIES & Key;

const partsOf = (sides: Side[], kind: Kind) => parts(sides.map(({ name, side }) => ({ name, tallies: TALLIES[kind](side) })));

/** Both models' counts by language, hardness, clause and database. */
export const Parts = memo(function Parts({ data, onFilter }: { data: Schema["Comparison"]; onFilter: OnFilter }) {
  const text = useText();
  const sides = useMemo(() => sidesOf(data), [data]);
  return (
    <>
      <h2>{text("parts")}</h2>
      <div className="parts">
        {(["language", "hardness", "clause"] as const).map((kind) => (
          <Table key={kind} kind={kind} sides={sides} onFilter={onFilter}>
            {partsOf(sides, kind)}
          </Table>
        ))}
        <Databases sides={sides} onFilter={onFilter} />
      </div>
    </>
  );
});

/** Databases of each end of the list that are shown at first. */
const EACH = 5;

/** Many databases: those that lost most and those that gained most, the others on demand. */
function Databases({ sides, onFilter }: { sides: Side[]; onFilter: OnFilter }) {
  const text = useText();
  const [search, setSearch] = useState("");
  const [all, setAll] = useState(false);
  const sorted = useMemo(() => byChange(partsOf(sides, "database")), [sides]);
  if (!sorted.length) return null;
  const found = sorted.filter((part) => part.name.toLowerCase().includes(search.toLowerCase()));
  const { first, hidden, last } = all ? { first: found, hidden: 0, last: [] } : ends(found, EACH);
  const isLong = ends(sorted, EACH).hidden > 0;
  return (
    <div>
      {isLong && (
        <div className="bar">
          <input
            type="search"
            aria-label={text("searchDatabases")}
            placeholder={text("searchDatabases")}
            value={search}
            onChange={(e) => setSearch(e.target.value)}
          />
          {(hidden > 0 || all) && (
            <button type="button" aria-expanded={all} onClick={() => setAll(!all)}>
              {text(all ? "showFewer" : "showOthers", { n: hidden })}
            </button>
          )}
        </div>
      )}
      <Table kind="database" sides={sides} onFilter={onFilter} hidden={hidden} rest={last}>
        {first}
      </Table>
    </div>
  );
}

interface TableProps {
  kind: Kind;
  sides: Side[];
  onFilter: OnFilter;
  children: Part[];
  /** How many parts are left out behind these. */
  hidden?: number;
  /** The parts behind those. */
  rest?: Part[];
}

function Table({ kind, sides, onFilter, children, hidden = 0, rest = [] }: TableProps) {
  const text = useText();
  const isCompared = sides.some((side) => side.name === "before") && sides.some((side) => side.name === "after");
  const row = (part: Part) => (
    <tr key={part.name}>
      <th scope="row">
        <button type="button" className="link" title={part.name} onClick={() => onFilter(kind, part.name)}>
          {named(text, kind, part.name)}
        </button>
      </th>
      {sides.map(({ name }) => (
        <td key={name} className="number">
          {part.tallies[name] ? `${part.tallies[name].matched} / ${part.tallies[name].evaluated}` : "–"}
        </td>
      ))}
      {isCompared && <td className={`number ${tone(part.change)}`}>{part.change === null ? "–" : points(part.change)}</td>}
    </tr>
  );
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{text(kind)}</th>
          {sides.map(({ name }) => (
            <th scope="col" key={name} className="number">
              {text(name)}
            </th>
          ))}
          {isCompared && (
            <th scope="col" className="number">
              {text("difference")}
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {children.map(row)}
        {hidden > 0 && (
          <tr>
            <td colSpan={5} className="muted">
              …
            </td>
          </tr>
        )}
        {rest.map(row)}
      </tbody>
    </table>
  );
}

const tone = (change: number | null) => (!change ? "" : change > 0 ? "good" : "bad");
