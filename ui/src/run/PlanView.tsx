import { useState } from "react";
import { runPath, useApi, withQuery, type Schema } from "../api";
import { useText } from "../i18n";
import { Commands } from "./Commands";

const shown = (value: unknown) => (typeof value === "string" ? value : value == null ? "" : JSON.stringify(value));

export function PlanView({ head }: { head: Schema["RunHead"] }) {
  const text = useText();
  const run = head.key;
  const [against, setAgainst] = useState("");
  const [onlyDifferences, setOnlyDifferences] = useState(true);
  const runs = useApi<Schema["RunList"]>("sqltune/api/v1/runs?limit=200").data?.runs ?? [];
  const champion = useChampion(head);
  const { data } = useApi<Schema["Plan"]>(withQuery(runPath(run, "/plan"), { against }));
  if (!data) return <p className="muted">{text("loading")}</p>;
  const settings = data.against && onlyDifferences ? data.settings.filter((s) => s.differs) : data.settings;
  return (
    <>
      <Commands run={run} />
      <h2>{text("plan")}</h2>
      <div className="bar">
        <label>
          {text("compareWith")}{" "}
          <select value={against} onChange={(e) => setAgainst(e.target.value)}>
            <option value="">–</option>
            {runs.filter((other) => other.key !== run).map((other) => (
              <option key={other.key} value={other.key}>
                {other.run_id}
              </option>
            ))}
          </select>
        </label>
        {champion && (
          <button type="button" aria-pressed={against === champion} onClick={() => setAgainst(against === champion ? "" : champion)}>
            {text("championsPlan", { n: head.champion ?? "" })}
          </button>
        )}
        {data.against && (
          <label>
            <input type="checkbox" checked={onlyDifferences} onChange={(e) => setOnlyDifferences(e.target.checked)} /> {text("differencesOnly")}
          </label>
        )}
      </div>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("setting")}</th>
            <th scope="col">{text("value")}</th>
            {data.against && <th scope="col">{against}</th>}
          </tr>
        </thead>
        <tbody>
          {settings.map((setting) => (
            <tr key={setting.name}>
              <th scope="row">{setting.name}</th>
              <td className="text">{shown(setting.value)}</td>
              {data.against && <td className="text">{setting.differs ? <mark>{shown(setting.other)}</mark> : shown(setting.other)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

/** Key of the run that trained what was served when this run began; undefined where none was. */
function useChampion({ cluster, champion }: Schema["RunHead"]): string | undefined {
  const path = champion == null ? null : `sqltune/api/v1/clusters/${encodeURIComponent(cluster)}/history`;
  return useApi<Schema["History"]>(path).data?.versions.find((version) => version.number === champion)?.run_key;
}
