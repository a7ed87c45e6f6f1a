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
    </section>
  );
}
