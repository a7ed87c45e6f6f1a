import { useState } from "react";
import { DAG_ID, runAddress, useApi, type Schema } from "../api";
import { commit, moment } from "../format";
import { useText } from "../i18n";
import { expectedHours, inOrder, startRun, type RevisionLine } from "./revisions";

/** The commits of the dataset; those that are ticked are trained in order. */
export function Revisions({ cluster }: { cluster: string }) {
  const { data } = useApi<Schema["Revisions"]>(`sqltune/api/v1/clusters/${encodeURIComponent(cluster)}/revisions`, 30_000);
  return data?.feeds.map((feed) => (
    <FeedRevisions key={`${feed.recipe} ${feed.dataset_repo} ${feed.branch}`} feed={feed} />
  ));
}

function FeedRevisions({ feed }: { feed: Schema["Feed"] }) {
  const text = useText();
  const [ticked, setTicked] = useState<ReadonlySet<string>>(new Set());
  const toggle = (name: string) => setTicked((old) => new Set(old.has(name) ? [...old].filter((c) => c !== name) : [...old, name]));
  return (
    <>
      <h2>
        {text("revisions")} <span className="muted">{`${feed.dataset_repo} @ ${feed.branch}, ${feed.recipe}`}</span>
      </h2>
      {feed.checked_at && <p className="muted">{text("checkedAt", { at: moment(feed.checked_at) })}</p>}
      <Start revisions={feed.revisions} ticked={ticked} onStarted={() => setTicked(new Set())} />
      <table>
        <thead>
          <tr>
            <td />
            <th scope="col">{text("revisionDate")}</th>
            <th scope="col">{text("data")}</th>
            <th scope="col">{text("author")}</th>
            <th scope="col">{text("title")}</th>
            <th scope="col" className="number">{text("rows")}</th>
            <th scope="col">{text("state")}</th>
            <th scope="col">{text("score")}</th>
            <th scope="col" className="number">{text("gpuHours")}</th>
            <th scope="col">{text("run")}</th>
          </tr>
        </thead>
        <tbody>
          {feed.revisions.map((r) => (
            <tr key={r.commit}>
              <td>
                <input
                  type="checkbox"
                  aria-label={text("tick", { commit: commit(r.commit) })}
                  checked={ticked.has(r.commit)}
                  disabled={r.state === "gone"}
                  onChange={() => toggle(r.commit)}
                />
              </td>
              <td>{moment(r.date)}</td>
              <td>
                <code>{commit(r.commit)}</code>
              </td>
              <td className="text">{r.author}</td>
              <td className="text">{[r.title, ...r.tags.map((tag) => `[${tag}]`)].join(" ")}</td>
              <td className="number">{r.rows}</td>
              <td>
                {text(`revision_${r.state}`)}
                {r.wait && <span className="muted">{`, ${text(`wait_${r.wait.reason}`)}`}</span>}
              </td>
              <td className={r.passed === null ? undefined : r.passed ? "good" : "bad"}>
                {r.matched != null && `${r.matched} / ${r.questions}`}
              </td>
              <td className="number">{r.gpu_hours?.toFixed(2)}</td>
              <td>{r.run_id && <a href={runAddress(DAG_ID, r.run_id)}>{r.run_id}</a>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

interface StartProps {
  revisions: RevisionLine[];
  ticked: ReadonlySet<string>;
  onStarted: () => void;
}

/** What the ticked revisions will cost, and the button that starts them; then the runs, or Airflow's refusal. */
function Start({ revisions, ticked, onStarted }: StartProps) {
  const text = useText();
  const [busy, setBusy] = useState(false);
  const [started, setStarted] = useState<string[]>([]);
  const [problem, setProblem] = useState("");
  const chosen = inOrder(revisions, ticked);
  const hours = expectedHours(revisions, chosen);
  const again = chosen.filter((r) => r.state === "trained").length;

  const start = async () => {
    setBusy(true);
    setStarted([]);
    setProblem("");
    for (const revision of chosen) {
      try {
        const runId = await startRun(DAG_ID, revision, new Date());
        setStarted((old) => [...old, runId]);
      } catch (error) {
        // Those behind it are not started: they are to be trained in order.
        setProblem(text("notStarted", { commit: commit(revision.commit), problem: (error as Error).message }));
        break;
      }
    }
    setBusy(false);
    onStarted();
  };

  return (
    <>
      {chosen.length > 0 && (
        <div className="bar">
          <button type="button" disabled={busy} onClick={() => void start()}>
            {text("trainTicked", { n: chosen.length })}
          </button>
          <output>
            {[
              again > 0 && text("trainAgain", { n: again }),
              hours !== undefined && text("expectedHours", { hours: hours.toFixed(2) }),
            ]
              .filter(Boolean)
              .join("; ")}
          </output>
        </div>
      )}
      {started.length > 0 && (
        <div role="status">
          {text("startedRuns")}
          <ol>
            {started.map((runId) => (
              <li key={runId}>
                <a href={runAddress(DAG_ID, runId)}>{runId}</a>
              </li>
            ))}
          </ol>
        </div>
      )}
      {problem && (
        <p className="notice bad-notice" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}
