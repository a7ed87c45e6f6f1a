import { useState } from "react";
import { runPath, useApi, withQuery, type Schema } from "../api";
import { useText } from "../i18n";

const shown = (value: unknown) => (typeof value === "string" ? value : value == null ? "" : JSON.stringify(value));

export function PlanView({ run }: { run: string }) {
  const text = useText();
  const [against, setAgainst] = useState("");
  const [onlyDifferences, setOnlyDifferences] = useState(true);
  const runs = useApi<Schema["RunList"]>("sqltune/api/v1/runs?limit=200").data?.runs ?? [];
  const { data } = useApi<Schema["Plan"]>(withQuery(runPath(run, "/plan"), { against }));
  if (!data) return <p className="muted">{text("loading")}</p>;
  const settings = data.against && onlyDifferences ? data.settings.filter((s) => s.differs) : data.settings;
  return (
    <>
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
