import { isReport, runPath, useApi, useSettled, withQuery, type Schema } from "../api";
import { useText } from "../i18n";

/** How long one must stay at a question. */
const SETTLED_MS = 200;

interface Props {
  run: string;
  id: string;
  against: string | null;
}

/** Why both answers were judged so; a wrong one on the smallest database that shows it. */
export function Explanations({ run, id, against }: Props) {
  const text = useText();
  const path = withQuery(runPath(run, "/explanation"), { id, against });
  // The server works a witness out: not for each question that somebody passes on the way to another one.
  const { data, error } = useApi<Schema["Explained"]>(useSettled(path, isReport ? 0 : SETTLED_MS) === path ? path : null);
  if (error) return null;
  if (!data) return <p className="muted">{text("loading")}</p>;
  return (
    <div className="columns">
      {(["before", "after"] as const).map((side) => (
        <section key={side} aria-label={`${text("why")}: ${text(side)}`}>
          <h3>
            {text("why")}: {text(side)}
          </h3>
          <p className="text">{data[side].why}</p>
          {data[side].differences.length > 0 && (
            <ul>
              {data[side].differences.map((difference) => (
                <li key={difference} className="text">
                  {difference}
                </li>
              ))}
            </ul>
          )}
          {data[side].witness && <WitnessView witness={data[side].witness} />}
        </section>
      ))}
    </div>
  );
}

function WitnessView({ witness }: { witness: Schema["Witness"] }) {
  const text = useText();
  return (
    <>
      {witness.tables.map((table) => (
        <Rows key={table.name} title={table.name} columns={table.columns} rows={table.rows} count={table.row_count} />
      ))}
      <div className="columns">
        <Result title={text("expected")} result={witness.gold} />
        <Result title={text("answer")} result={witness.answer} />
      </div>
    </>
  );
}

function Result({ title, result }: { title: string; result: Schema["WitnessResult"] }) {
  return <Rows title={title} columns={result.columns} rows={result.rows} count={result.row_count} marked={new Set(result.different)} />;
}

interface RowsProps {
  title: string;
  columns: string[];
  rows: (string | number | null)[][];
  count: number;
  /** Positions of the rows that the other result lacks. */
  marked?: Set<number>;
}

function Rows({ title, columns, rows, count, marked }: RowsProps) {
  const text = useText();
  return (
    <div className="scroll">
      <table className="rows">
        <caption>
          {title} <span className="muted">{text("rowCount", { n: count })}</span>
        </caption>
        <thead>
          <tr>
            {columns.map((column, i) => (
              <th scope="col" key={i}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i} className={marked?.has(i) ? "differs" : undefined}>
              {row.map((cell, j) => (
                <td key={j}>{cell === null ? <span className="muted">NULL</span> : String(cell)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
