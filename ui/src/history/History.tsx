import { useMemo, useState } from "react";
import { useSearchParams } from "react-router-dom";
import { apiUrl, DAG_ID, runAddress, useApi, withQuery, type Schema } from "../api";
import { Chart, type Curve } from "../Chart";
import { Copyable } from "../Copyable";
import { NewRun } from "../estimate/NewRun";
import { commit, moment, percent } from "../format";
import { useText } from "../i18n";
import { Queue } from "../queue/Queue";
import { Revisions } from "./Revisions";
import { folded, hoursPerPoint, servedAt, type RunLine } from "./served";

export function History() {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const clusters = useApi<Schema["Clusters"]>("sqltune/api/v1/clusters").data?.clusters;
  const cluster = params.get("cluster") ?? clusters?.[0];
  return (
    <>
      <NewRun />
      <Queue />
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
      {data.versions.length > 0 && <Versions cluster={cluster} versions={data.versions} />}
      {data.promotions.length > 0 && <Promotions promotions={data.promotions} />}
      <Revisions cluster={cluster} />
      <Runs cluster={cluster} />
    </>
  );
}

function Versions({ cluster, versions }: { cluster: string; versions: Schema["VersionLine"][] }) {
  const text = useText();
  const [chosen, setChosen] = useState<number>();
  return (
    <>
      <h2>{text("versions")}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col" className="number">{text("version")}</th>
            <th scope="col">{text("at")}</th>
            <th scope="col">{text("score")}</th>
            <th scope="col">{text("interval")}</th>
            <th scope="col" className="number">{text("gpuHours")}</th>
            <th scope="col" className="number">{text("hoursPerPoint")}</th>
            <th scope="col">{text("trainedOn")}</th>
            <th scope="col">{text("verdict")}</th>
            <th scope="col">{text("run")}</th>
            <td />
          </tr>
        </thead>
        <tbody>
          {[...versions].reverse().map((v) => (
            <tr key={v.number}>
              <th scope="row" className="number">{v.number}</th>
              <td>{moment(v.registered_at)}</td>
              <td>
                {v.matched} / {v.questions} {v.serving && <strong className="good">{text("servesNow")}</strong>}
              </td>
              <td>{v.interval && `${percent(v.interval[0], 1)} – ${percent(v.interval[1], 1)}`}</td>
              <td className="number">
                {v.gpu_hours?.toFixed(2)}
                {v.price != null && ` (${v.price.toFixed(2)})`}
              </td>
              <td className="number">{hoursPerPoint(v)?.toFixed(2)}</td>
              <td>
                {v.lineage.dataset_repo} @ <code>{commit(v.lineage.dataset_commit ?? "")}</code>
              </td>
              <td className={v.passed ? "good" : "bad"}>{v.lineage.verdict}</td>
              <td>
                <a href={runAddress(DAG_ID, v.run_id)}>{v.run_id}</a>
              </td>
              <td>
                {!v.serving && (
                  <button type="button" aria-pressed={chosen === v.number} onClick={() => setChosen(v.number)}>
                    {text("serve")}
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {chosen !== undefined && <Promote cluster={cluster} version={chosen} />}
    </>
  );
}

/** How to serve a version: who may trigger the DAG decides, this page changes nothing. */
function Promote({ cluster, version }: { cluster: string; version: number }) {
  const text = useText();
  return (
    <section aria-label={text("serveVersion", { version })}>
      <h3>{text("serveVersion", { version })}</h3>
      <p>
        <a href={apiUrl("dags/text2sql_promote")}>{text("openPromote")}</a> {text("pasteConf")}
      </p>
      <Copyable title={text("configuration")} label={text("configuration")} value={JSON.stringify({ cluster, version })} />
    </section>
  );
}

function Promotions({ promotions }: { promotions: Schema["ServedVersion"][] }) {
  const text = useText();
  const [at, setAt] = useState("");
  const served = at ? servedAt(promotions, Date.parse(`${at}Z`)) : undefined;
  return (
    <>
      <h2>{text("promotions")}</h2>
      <div className="bar">
        <label>
          {text("servedAt")} <input type="datetime-local" value={at} onChange={(e) => setAt(e.target.value)} />
        </label>
        {at && (
          <output>
            {served ? (
              <>
                <strong>
                  {text("version")} {served.version}
                </strong>
                , {served.why}, {moment(served.at)}
              </>
            ) : (
              text("nothingServed")
            )}
          </output>
        )}
      </div>
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
          {[...promotions].reverse().map((p) => (
            <tr key={p.at} aria-current={p === served}>
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
    </>
  );
}

const PAGE = 100;

function Runs({ cluster }: { cluster: string }) {
  const text = useText();
  const [limit, setLimit] = useState(PAGE);
  const { data } = useApi<Schema["RunList"]>(withQuery("sqltune/api/v1/runs", { cluster, limit }), 30_000);
  const groups = useMemo(() => folded(data?.runs ?? []), [data]);
  if (!data) return null;
  return (
    <>
      <h2>
        {text("runs")} <span className="muted">{data.total}</span>
      </h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("at")}</th>
            <th scope="col">{text("run")}</th>
            <th scope="col">{text("state")}</th>
            <th scope="col">{text("score")}</th>
            <th scope="col">{text("data")}</th>
          </tr>
        </thead>
        <tbody>
          {groups.map((group) => (
            <Group key={group[0]?.key} runs={group} />
          ))}
        </tbody>
      </table>
      {data.total > limit && (
        <button type="button" onClick={() => setLimit(limit + 10 * PAGE)}>
          {text("more")}
        </button>
      )}
    </>
  );
}

/** A run; or several that had nothing new, in one line that opens. */
function Group({ runs }: { runs: RunLine[] }) {
  const text = useText();
  const [open, setOpen] = useState(false);
  const [first] = runs;
  if (first && runs.length > 1 && !open)
    return (
      <tr>
        <td>{moment(first.created_at)}</td>
        <td colSpan={4}>
          <button type="button" aria-expanded={false} onClick={() => setOpen(true)}>
            {text("nothingNewRuns", { n: runs.length })}
          </button>
        </td>
      </tr>
    );
  return runs.map((run) => (
    <tr key={run.key}>
      <td>{moment(run.created_at)}</td>
      <td>
        <a href={runAddress(DAG_ID, run.run_id)}>{run.run_id}</a>
      </td>
      <td>{text(`state_${run.state}`)}</td>
      <td>{run.matched_after != null && `${run.matched_before ?? "–"} → ${run.matched_after} / ${run.questions}`}</td>
      <td>
        <code>{commit(run.dataset_commit)}</code>
      </td>
    </tr>
  ));
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
