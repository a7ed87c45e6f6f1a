import { AIRFLOW_MS, runPath, useApi, type Schema } from "../api";
import { useText } from "../i18n";
import { EstimateTable } from "./EstimateTable";

/** What a run was estimated to take, beside what it took. */
export function RunEstimate({ run, live }: { run: string; live: boolean }) {
  const text = useText();
  const { data } = useApi<Schema["RunEstimate"]>(runPath(run, "/estimate"), live ? AIRFLOW_MS : 0);
  if (!data) return null;
  return (
    <section aria-label={text("estimate")}>
      <h2>{text("estimate")}</h2>
      {data.estimate ? <EstimateTable estimate={data.estimate} taken={data.taken} /> : <p className="muted">{text("notEstimated")}</p>}
      {data.strategies.length > 0 && <Strategies measured={data.strategies} used={data.taken?.strategy} />}
    </section>
  );
}

/** How fast each strategy was, or why it failed. */
function Strategies({ measured, used }: { measured: Schema["MeasuredStrategy"][]; used: string | undefined }) {
  const text = useText();
  return (
    <table className="figures">
      <caption>{text("strategiesMeasured")}</caption>
      <thead>
        <tr>
          <th scope="col">{text("strategy")}</th>
          <th scope="col" className="number">{text("secondsAnIteration")}</th>
        </tr>
      </thead>
      <tbody>
        {measured.map(({ strategy, seconds_per_iteration: seconds, error }) => (
          <tr key={strategy} aria-current={strategy === used}>
            <th scope="row">{strategy === used ? <strong>{strategy}</strong> : strategy}</th>
            {seconds === null ? <td className="bad">{error}</td> : <td className="number">{seconds.toFixed(3)}</td>}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
