import { runPath, useApi, type Schema } from "../api";
import { moment } from "../format";
import { useText } from "../i18n";

/** From the data to what served when, each with its hash. */
export function Lineage({ run, live }: { run: string; live: boolean }) {
  const text = useText();
  const { data } = useApi<Schema["Lineage"]>(runPath(run, "/lineage"), live ? 30_000 : 0);
  if (!data) return <p className="muted">{text("loading")}</p>;
  return (
    <>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("stage")}</th>
            <th scope="col">{text("name")}</th>
            <th scope="col">{text("hash")}</th>
          </tr>
        </thead>
        <tbody>
          {data.steps.map((step) => (
            <tr key={step.stage}>
              <th scope="row">{text(`stage_${step.stage}`)}</th>
              <td className="text">
                {step.url ? (
                  <a href={step.url} rel="noreferrer">
                    {step.name}
                  </a>
                ) : (
                  step.name || "–"
                )}
              </td>
              <td>
                <code>{step.hash ?? "–"}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <h2>{text("served")}</h2>
      {data.served.length ? <Served times={data.served} /> : <p className="muted">{text("neverServed")}</p>}
    </>
  );
}

function Served({ times }: { times: Schema["Served"][] }) {
  const text = useText();
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{text("since")}</th>
          <th scope="col">{text("until")}</th>
          <th scope="col">{text("decidedBy")}</th>
          <th scope="col">{text("run")}</th>
        </tr>
      </thead>
      <tbody>
        {times.map((time) => (
          <tr key={time.since}>
            <td>{moment(time.since)}</td>
            <td>{time.until ? moment(time.until) : <strong className="good">{text("servesNow")}</strong>}</td>
            <td className="text">{time.why}</td>
            <td className="text">{time.by}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
