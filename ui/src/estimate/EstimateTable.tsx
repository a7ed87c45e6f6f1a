import { useContext } from "react";
import type { Schema } from "../api";
import { duration, percent } from "../format";
import { LanguageContext, useText, type Key } from "../i18n";
import { factor, figures } from "./compare";

interface Props {
  estimate: Schema["Estimate"];
  taken: Schema["Taken"] | null;
}

/** An estimate in figures, what they are from, and a faster strategy. */
export function EstimateTable({ estimate, taken }: Props) {
  const text = useText();
  return (
    <>
      <Advice estimate={estimate} />
      <table className="figures">
        <thead>
          <tr>
            <td />
            <th scope="col" className="number">{text("estimated")}</th>
            {taken && <th scope="col" className="number">{text("taken")}</th>}
            {taken && <th scope="col" className="number">{text("difference")}</th>}
          </tr>
        </thead>
        <tbody>
          {figures(estimate, taken).map((figure) => (
            <tr key={figure.key}>
              <th scope="row">{text(figure.key)}</th>
              <td className="number">
                {figure.estimated}
                {figure.key === "trainingTime" && !taken && <Range estimate={estimate} />}
              </td>
              {taken && <td className="number">{figure.taken}</td>}
              {taken && (
                <td className="number">
                  {figure.difference !== undefined && `${figure.difference > 0 ? "+" : ""}${percent(figure.difference)}`}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      <Basis estimate={estimate} />
      {estimate.memory.length > 0 && <Memory estimate={estimate} />}
    </>
  );
}

function Range({ estimate }: { estimate: Schema["Estimate"] }) {
  const text = useText();
  if (estimate.seconds_low == null || estimate.seconds_high == null) return null;
  const between = text("likelyBetween", { low: duration(estimate.seconds_low), high: duration(estimate.seconds_high) });
  return <span className="muted"> ({between})</span>;
}

function Advice({ estimate }: { estimate: Schema["Estimate"] }) {
  const text = useText();
  const faster = estimate.advice;
  if (!faster) return null;
  const times = factor(faster.low, faster.high, (low, high) => text("adviceTo", { low, high }));
  const names = { own: estimate.strategy, other: faster.strategy, factor: times };
  return (
    <p className="notice">
      {text(faster.measured ? "adviceMeasured" : "advicePublished", names)} <Sources addresses={faster.sources} />
    </p>
  );
}

/** What the figures are from. */
function Basis({ estimate }: { estimate: Schema["Estimate"] }) {
  const text = useText();
  const { tokens, rate } = estimate;
  return (
    <ul className="muted">
      {tokens && (
        <li>
          {text("tokensOfRows")}: {text("tokensValue", { tokens: tokens.total.toLocaleString("en"), rows: tokens.rows.toLocaleString("en") })} (
          {text(`tokens_${tokens.basis}` satisfies Key)})
        </li>
      )}
      {estimate.iterations == null && <li>{text("stepsUnknown")}</li>}
      <li>
        {rate ? text(`rate_${rate.basis}` satisfies Key, { n: rate.runs }) : text("rate_unknown")}{" "}
        {rate && <Sources addresses={rate.sources} />}
      </li>
    </ul>
  );
}

/** Links to published figures; a path of this project is named as it is. */
function Sources({ addresses }: { addresses: string[] }) {
  return addresses.map((address, index) => (
    <span key={address}>
      {index > 0 && ", "}
      {address.startsWith("https://") ? (
        <a href={address} rel="noreferrer">
          {address.replace("https://", "")}
        </a>
      ) : (
        address
      )}
    </span>
  ));
}

const PARTS = ["weights", "adapter", "activations", "buffers", "reserve", "total"] as const satisfies Key[];

function Memory({ estimate }: { estimate: Schema["Estimate"] }) {
  const text = useText();
  const language = useContext(LanguageContext);
  const card = estimate.gpu_memory == null ? text("cardUnknown") : text("fits", { card: `${estimate.gpu_memory.toFixed(0)} GiB` });
  return (
    <details lang={language}>
      <summary>{text("memoryByStrategy")} (GiB)</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("strategy")}</th>
            {PARTS.map((part) => (
              <th key={part} scope="col" className="number">
                {text(part)}
              </th>
            ))}
            <th scope="col">{card}</th>
          </tr>
        </thead>
        <tbody>
          {estimate.memory.map((needed) => (
            <tr key={needed.strategy} aria-current={needed.strategy === estimate.strategy}>
              <th scope="row">{needed.strategy === estimate.strategy ? <strong>{needed.strategy}</strong> : needed.strategy}</th>
              {PARTS.map((part) => (
                <td key={part} className="number">
                  {needed[part].toFixed(1)}
                </td>
              ))}
              <td className={needed.fits ? "good" : needed.fits === false ? "bad" : undefined}>
                {needed.fits != null && text(needed.fits ? "fitsYes" : "fitsNot")}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
