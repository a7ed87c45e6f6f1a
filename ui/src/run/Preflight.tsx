import { runPath, useApi, type Schema } from "../api";
import { moment } from "../format";
import { useText } from "../i18n";

/** What preflight found on each host, and what it made of it. */
export function Preflight({ run }: { run: string }) {
  const text = useText();
  const { data } = useApi<Schema["Preflight"]>(runPath(run, "/preflight"));
  if (!data) return <p className="muted">{text("loading")}</p>;
  if (!data.hosts.length) return <p className="notice">{text("noPreflight")}</p>;
  return (
    <>
      {data.hosts.map((host) => (
        <Checks key={host.host} host={host} />
      ))}
      <Facts hosts={data.hosts} />
    </>
  );
}

function Checks({ host }: { host: Schema["Checkup"] }) {
  const text = useText();
  return (
    <>
      <h2>
        {host.host} <span className="muted">{moment(host.at)}</span>
      </h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("check")}</th>
            <th scope="col">{text("value")}</th>
            <th scope="col">{text("required")}</th>
            <th scope="col">{text("result")}</th>
            <th scope="col">{text("fix")}</th>
          </tr>
        </thead>
        <tbody>
          {host.checks.map((check) => (
            <tr key={check.name} className={check.problem ? "differs" : undefined}>
              <th scope="row">{text(`check_${check.name}`)}</th>
              <td className="text">{check.value}</td>
              <td className="text">{check.limit}</td>
              <td className={check.problem ? "bad" : "good"}>{text(check.problem ? "failed" : "good")}</td>
              <td className="text">{check.problem}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

/** Facts side by side: what differs between hosts is what their ranks may not agree on. */
function Facts({ hosts }: { hosts: Schema["Checkup"][] }) {
  const text = useText();
  const rows = facts(hosts);
  return (
    <>
      <h2>{text("hosts")}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("fact")}</th>
            {hosts.map((host) => (
              <th scope="col" key={host.host}>
                {host.host}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, values, differs }) => (
            <tr key={name} className={differs ? "differs" : undefined}>
              <th scope="row">{name}</th>
              {values.map((value, i) => (
                <td key={hosts[i]?.host} className="text">
                  {value}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

/** Facts that must be the same on all hosts. */
const SHARED = new Set(["python", "base_model_hash"]);

/** The hosts' facts, one in a row. Versions and the base model must be the same on all. */
export function facts(hosts: Schema["Checkup"][]): { name: string; values: string[]; differs: boolean }[] {
  const flat = hosts.map((host) => {
    const { versions, ...others } = host.facts;
    return { ...others, ...versions } as Record<string, unknown>;
  });
  const shared = new Set([...SHARED, ...hosts.flatMap((host) => Object.keys(host.facts.versions))]);
  const names = [...new Set(flat.flatMap((of) => Object.keys(of)))].filter((name) => name !== "clock");
  return names.map((name) => {
    const values = flat.map((of) => shown(of[name]));
    return { name, values, differs: shared.has(name) && new Set(values).size > 1 };
  });
}

function shown(value: unknown): string {
  if (value == null) return "–";
  if (Array.isArray(value)) return value.join("\n") || "–";
  if (typeof value === "object") return Object.entries(value).map(([name, of]) => `${name}=${String(of)}`).join("\n") || "–";
  return String(value);
}
