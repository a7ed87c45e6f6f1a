import { useSearchParams } from "react-router-dom";
import { runPath, useApi, type Schema } from "../api";
import { commit, percent } from "../format";
import { useText, type Key } from "../i18n";

type Check = NonNullable<Schema["DataPage"]["check"]>;
type Changes = NonNullable<Check["changes"]>;

/** What the run's revision of the dataset changed against the one trained before, and what is wrong with it. */
export function DataCheck({ run, live }: { run: string; live: boolean }) {
  const text = useText();
  const { data } = useApi<Schema["DataPage"]>(runPath(run, "/data"), live ? 30_000 : 0);
  if (!data) return <p className="muted">{text("loading")}</p>;
  if (!data.check) return <p className="notice">{text("noDataCheck")}</p>;
  const { check } = data;
  return (
    <>
      <Conclusion data={data} />
      <Limits limits={data.limits} />
      {check.changes ? <Differences changes={check.changes} /> : <p className="muted">{text("firstRevision")}</p>}
      <Overlap overlap={check.overlap} />
      <Examples check={check} />
    </>
  );
}

function Conclusion({ data }: { data: Schema["DataPage"] }) {
  const text = useText();
  if (!data.limits.some((limit) => limit.exceeded)) return <p className="notice">{text("dataWithinLimits")}</p>;
  const what: Key = data.accepted ? "dataAccepted" : `data_${data.on_excess}`;
  return <p className="notice bad-notice">{text(what)}</p>;
}

function Limits({ limits }: { limits: Schema["DataLimit"][] }) {
  const text = useText();
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{text("check")}</th>
          <th scope="col" className="number">{text("found")}</th>
          <th scope="col" className="number">{text("share")}</th>
          <th scope="col" className="number">{text("limit")}</th>
          <th scope="col">{text("result")}</th>
        </tr>
      </thead>
      <tbody>
        {limits.map(({ limit, count, total, allowed, exceeded }) => (
          <tr key={limit} className={exceeded ? "differs" : undefined}>
            <th scope="row">
              {text(`data_${limit}` as Key)} {limit !== "fields" && <code className="muted">{limit}</code>}
            </th>
            <td className="number">{text("countOf", { count, total })}</td>
            <td className="number">{percent(total ? count / total : 0, 1)}</td>
            <td className="number">{percent(allowed, 1)}</td>
            <td className={exceeded ? "bad" : "good"}>{text(exceeded ? "failed" : "good")}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Differences({ changes }: { changes: Changes }) {
  const text = useText();
  const [, setParams] = useSearchParams();
  return (
    <>
      <h2>
        {text("sinceCommit")} <code>{commit(changes.since)}</code>
      </h2>
      <p>
        {text("dataChanges", {
          added: changes.added,
          removed: changes.removed,
          changed: changes.changed,
          fresh: changes.new_databases,
          gone: changes.lost_databases,
        })}{" "}
        {text("thenQuestions")}{" "}
        {(["gained", "lost"] as const).map((change) => (
          <button key={change} type="button" onClick={() => setParams({ view: "comparison", change })}>
            {text(change)}
          </button>
        ))}
      </p>
      {changes.databases.length > 0 && (
        <details open={changes.databases.length <= 20}>
          <summary>{text("changesByDatabase", { n: changes.databases.length })}</summary>
          <table>
            <thead>
              <tr>
                <th scope="col">{text("tables")}</th>
                <th scope="col">{text("part")}</th>
                <th scope="col" className="number">{text("rowsBefore")}</th>
                <th scope="col" className="number">{text("rowsNow")}</th>
                <th scope="col" className="number">{text("rowsAdded")}</th>
                <th scope="col" className="number">{text("rowsGone")}</th>
                <th scope="col" className="number">{text("rowsChanged")}</th>
              </tr>
            </thead>
            <tbody>
              {changes.databases.map((of) => (
                <tr key={of.database}>
                  <th scope="row" className="text">{of.tables}</th>
                  <td>{text(of.held_out ? "heldOut" : "training")}</td>
                  <td className="number">{of.before}</td>
                  <td className="number">{of.after}</td>
                  <td className="number">{of.added || ""}</td>
                  <td className="number">{of.removed || ""}</td>
                  <td className="number">{of.changed || ""}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
      {changes.answers.length > 0 && (
        <details>
          <summary>{text("changedAnswers")}</summary>
          <table>
            <thead>
              <tr>
                <th scope="col">{text("askedQuestion")}</th>
                <th scope="col">{text("rowsBefore")}</th>
                <th scope="col">{text("rowsNow")}</th>
              </tr>
            </thead>
            <tbody>
              {changes.answers.map((answer) => (
                <tr key={`${answer.tables} ${answer.question}`}>
                  <th scope="row" className="text">{answer.question}</th>
                  <td className="text"><code>{answer.before.join("\n")}</code></td>
                  <td className="text"><code>{answer.after.join("\n")}</code></td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </>
  );
}

function Overlap({ overlap }: { overlap: Check["overlap"] }) {
  const text = useText();
  const shares: [Key, number][] = [
    ["sameSkeleton", overlap.same_skeleton],
    ["nearQuestion", overlap.near_question],
    ["sameQuestion", overlap.same_question],
  ];
  return (
    <>
      <h2>{text("overlap")}</h2>
      <p className="muted">{text("overlapMeaning")}</p>
      <table>
        <tbody>
          {shares.map(([key, count]) => (
            <tr key={key}>
              <th scope="row">{text(key)}</th>
              <td className="number">{text("countOf", { count, total: overlap.held_out })}</td>
              <td className="number">{percent(overlap.held_out ? count / overlap.held_out : 0, 1)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {overlap.examples.length > 0 && (
        <details>
          <summary>{text("nearQuestions")}</summary>
          <table>
            <thead>
              <tr>
                <th scope="col">{text("heldOut")}</th>
                <th scope="col">{text("training")}</th>
                <th scope="col" className="number">{text("similarity")}</th>
              </tr>
            </thead>
            <tbody>
              {overlap.examples.map((pair) => (
                <tr key={pair.held_out}>
                  <td className="text">{pair.held_out}</td>
                  <td className="text">{pair.train}</td>
                  <td className="number">{percent(pair.similarity)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </>
  );
}

function Examples({ check }: { check: Check }) {
  const text = useText();
  return (
    <>
      {check.contradictions.length > 0 && (
        <details>
          <summary>{text("contradictions")}</summary>
          <table>
            <tbody>
              {check.contradictions.map((of) => (
                <tr key={`${of.tables} ${of.question}`}>
                  <th scope="row" className="text">{of.question}</th>
                  <td className="text"><code>{of.answers.join("\n")}</code></td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
      {check.unusable_rows.length > 0 && (
        <details>
          <summary>{text("unusableRows")}</summary>
          <table>
            <tbody>
              {check.unusable_rows.map((row, i) => (
                <tr key={i}>
                  <th scope="row" className="text">{row.question}</th>
                  <td className="text"><code>{row.answer}</code></td>
                  <td className="text">{row.problem}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
    </>
  );
}
