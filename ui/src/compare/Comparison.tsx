import { memo, useCallback } from "react";
import { isReport, runPath, useApi, withQuery, type Schema } from "../api";
import { named, useText } from "../i18n";
import { useAddress } from "./address";
import type { FilterName } from "./filter";
import { Numbers } from "./Numbers";
import { Parts } from "./Parts";
import { Questions, showList } from "./Questions";

const MOST = 10_000;

/** Leads to the questions that a filter leaves. */
export type OnFilter = (name: FilterName, value: string) => void;

export function Comparison({ run, cluster, live }: { run: string; cluster: string; live: boolean }) {
  const text = useText();
  const address = useAddress();
  const { params, set } = address;
  const against = params.get("against");
  const { data } = useApi<Schema["Comparison"]>(withQuery(runPath(run, "/comparison"), { against }), live ? 10_000 : 0);
  const hasQuestions = !data || (data.before && data.after);
  // Asked for together with the numbers: it is what takes longest.
  const questions = useApi<Schema["Questions"]>(hasQuestions ? withQuery(runPath(run, "/questions"), { limit: MOST, against }) : null).data;
  const versions = useApi<Schema["History"]>(isReport ? null : `sqltune/api/v1/clusters/${encodeURIComponent(cluster)}/history`).data?.versions;
  const onFilter = useCallback<OnFilter>(
    (name, value) => {
      set({ [name]: value });
      showList();
    },
    [set],
  );
  if (!data) return <p className="muted">{text("loading")}</p>;
  if (!data.before && !data.after) return <p className="notice">{text("noComparison")}</p>;
  return (
    <>
      {versions && versions.length > 1 && (
        <label>
          {text("compareWithVersion")}{" "}
          <select value={against ?? ""} onChange={(e) => set({ against: e.target.value, question: null })}>
            <option value="">{text("servedBefore")}</option>
            {versions.filter((v) => v.run_key !== run).map((v) => (
              <option key={v.number} value={v.run_key}>
                {v.number} · {v.matched} / {v.questions}
              </option>
            ))}
          </select>
        </label>
      )}
      <Numbers data={data} />
      {data.rules.length > 0 && <Rules data={data} />}
      {data.without_doubtful && <Doubtful without={data.without_doubtful} onFilter={onFilter} />}
      <Parts data={data} onFilter={onFilter} />
      {data.before && data.after && <Questions run={run} against={against} address={address} data={questions} />}
    </>
  );
}

const Rules = memo(function Rules({ data }: { data: Schema["Comparison"] }) {
  const text = useText();
  const broken = data.rules.filter((rule) => !rule.passed && !rule.advisory).map((rule) => rule.id);
  return (
    <>
      <h2>
        {[text("verdict"), text(data.passed ? "state_passed" : "state_held_back"), ...(broken.length ? [broken.join(", ")] : [])].join(": ")}
      </h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{text("rule")}</th>
            <th scope="col">{text("result")}</th>
            <th scope="col">{text("why")}</th>
          </tr>
        </thead>
        <tbody>
          {data.rules.map((rule) => (
            <tr key={rule.id}>
              <th scope="row">{rule.id}</th>
              <td className={rule.passed ? "good" : "bad"}>{text(rule.passed ? "passed" : rule.advisory ? "remark" : "failed")}</td>
              <td className="text">{rule.explanation}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
});

/** How many gold queries are doubtful and why, and whether the verdict hangs on them. */
const Doubtful = memo(function Doubtful({ without, onFilter }: { without: Schema["WithoutDoubtful"]; onFilter: OnFilter }) {
  const text = useText();
  return (
    <>
      <h2>{text("doubtfulGolds", { n: without.doubtful })}</h2>
      {without.decisive != null && (
        <p className={without.decisive ? "notice bad-notice" : "muted"}>{text(without.decisive ? "doubtfulDecisive" : "doubtfulHarmless")}</p>
      )}
      <table className="narrow">
        <thead>
          <tr>
            <th scope="col">{text("doubtReason")}</th>
            <th scope="col" className="number">{text("questionCount")}</th>
          </tr>
        </thead>
        <tbody>
          {Object.entries(without.by_reason).map(([reason, count]) => (
            <tr key={reason}>
              <th scope="row">
                <button type="button" className="link" onClick={() => onFilter("doubt", reason)}>
                  {named(text, "reason", reason)}
                </button>
              </th>
              <td className="number">{count}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
});
