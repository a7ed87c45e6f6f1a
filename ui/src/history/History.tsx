import { useMemo } from "react";
import { useSearchParams } from "react-router-dom";
import { useApi, type Schema } from "../api";
import { Chart, type Curve } from "../Chart";
import { commit, moment, percent } from "../format";
import { useText } from "../i18n";

export function History() {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const clusters = useApi<Schema["Clusters"]>("sqltune/api/v1/clusters").data?.clusters;
  const cluster = params.get("cluster") ?? clusters?.[0];
  return (
    <>
      <div className="bar">
        <label>
          {text("cluster")}{" "}
          <select value={cluster ?? ""} onChange={(e) => setParams({ cluster: e.target.value })}>
            {clusters?.map((name) => <option key={name}>{name}</option>)}
          </select>
        </label>
      </div>
      {cluster ? <ClusterHistory cluster={cluster} /> : clusters && <p className="notice">{text("noVersions")}</p>}
    </>
  );
}

function ClusterHistory({ cluster }: { cluster: string }) {
  const text = useText();
  const { data } = useApi<Schema["History"]>(`sqltune/api/v1/clusters/${encodeURIComponent(cluster)}/history`, 30_000);
  const curve = useMemo(() => data && scoreCurve(data.versions), [data]);
  if (!data) return <p className="muted">{text("loading")}</p>;
  return (
    <>
      {curve && curve.x.length > 0 ? <Chart title={`${text("score")} (%)`} curve={curve} height={220} /> : <p className="notice">{text("noVersions")}</p>}
      <h2>{text("versions")}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col" className="number">{text("version")}</th>
            <th scope="col">{text("at")}</th>
            <th scope="col">{text("score")}</th>
            <th scope="col">{text("interval")}</th>
            <th scope="col">{text("data")}</th>
            <th scope="col">{text("verdict")}</th>
            <th scope="col">{text("run")}</th>
          </tr>
        </thead>
        <tbody>
          {[...data.versions].reverse().map((v) => (
            <tr key={v.number}>
              <th scope="row" className="number">{v.number}</th>
              <td>{moment(v.registered_at)}</td>
              <td>
                {v.matched} / {v.questions} {v.serving && <strong className="good">{text("servesNow")}</strong>}
              </td>
              <td>{v.interval && `${percent(v.interval[0], 1)} – ${percent(v.interval[1], 1)}`}</td>
              <td>
                {v.lineage.dataset_repo} @ <code>{commit(v.lineage.dataset_commit ?? "")}</code>
              </td>
              <td className={v.passed ? "good" : "bad"}>{v.lineage.verdict}</td>
              <td>
                <a href={new URL(`dags/text2sql_retrain/runs/${encodeURIComponent(v.run_id)}/plugin/text2sql`, document.baseURI).href}>{v.run_id}</a>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <h2>{text("promotions")}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("at")}</th>
            <th scope="col" className="number">{text("version")}</th>
            <th scope="col">{text("decidedBy")}</th>
            <th scope="col">{text("run")}</th>
          </tr>
        </thead>
        <tbody>
          {[...data.promotions].reverse().map((p) => (
            <tr key={p.at}>
              <td>{moment(p.at)}</td>
              <td className="number">
                {p.before != null && `${p.before} → `}
                {p.version}
              </td>
              <td className="text">{p.why}</td>
              <td className="text">{p.by}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p>
        <a href={new URL("dags/text2sql_promote?mode=trigger", document.baseURI).href}>{text("rollBack")}</a>
      </p>
    </>
  );
}

/** Scores in percent over version numbers, with their intervals. */
function scoreCurve(versions: Schema["VersionLine"][]): Curve {
  const scored = versions.filter((v) => v.questions);
  return {
    label: "score",
    x: scored.map((v) => v.number),
    y: scored.map((v) => (100 * (v.matched ?? 0)) / (v.questions ?? 1)),
    low: scored.map((v) => (v.interval ? 100 * v.interval[0] : null)),
    high: scored.map((v) => (v.interval ? 100 * v.interval[1] : null)),
    points: true,
  };
}
