import { useState, type MouseEvent } from "react";
import { useSearchParams } from "react-router-dom";
import { AIRFLOW_MS, ApiError, apiUrl, isReport, isRunning, runAddress, runPath, useApi, useDagRun, type DagRun, type Schema } from "./api";
import { Comparison } from "./compare/Comparison";
import { History } from "./history/History";
import { initialLanguage, LanguageContext, translate, useText, type Key, type Language } from "./i18n";
import { QueuedRun } from "./queue/Waiting";
import { DataCheck } from "./run/DataCheck";
import { Lineage } from "./run/Lineage";
import { Overview } from "./run/Overview";
import { PlanView } from "./run/PlanView";
import { Preflight } from "./run/Preflight";
import { POLL_MS, useLive } from "./run/stream";
import { useCurves } from "./run/useCurves";
import { PANEL_ID, tabId, Tabs } from "./Tabs";

/** What Airflow gives a plugin's component. */
export interface PluginProps {
  dagId?: string;
  runId?: string;
}

interface Props extends PluginProps {
  /** Opens another of Airflow's pages, by its path below Airflow's address; without it, links are plain links. */
  onLink?: (path: string) => void;
}

export function App({ dagId, runId, onLink }: Props) {
  const [language, setLanguage] = useState<Language>(initialLanguage);
  const choose = (chosen: Language) => {
    localStorage.setItem("sqltune.language", chosen);
    setLanguage(chosen);
  };
  return (
    <LanguageContext.Provider value={language}>
      <div className="sqltune" lang={language} onClick={onLink && ((event) => followLink(event, onLink))}>
        <div className="language" role="group" aria-label={translate(language)("interfaceLanguage")}>
          {(["en", "zh"] as const).map((name) => (
            <button key={name} type="button" lang={name} aria-pressed={language === name} onClick={() => choose(name)}>
              {name === "en" ? "English" : "中文"}
            </button>
          ))}
        </div>
        {dagId && runId ? <Run key={runId} dagId={dagId} runId={runId} /> : <History />}
      </div>
    </LanguageContext.Provider>
  );
}

/** Open a link to Airflow without loading its page anew; what the browser is to do with it otherwise stays so. */
function followLink(event: MouseEvent, onLink: (path: string) => void) {
  const link = (event.target as Element).closest("a");
  const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !isPlain || link.hasAttribute("download") || !link.href.startsWith(document.baseURI)) return;
  event.preventDefault();
  onLink(link.href.slice(document.baseURI.length));
}

/** A run; until its plan is recorded there is nothing to show. */
function Run({ dagId, runId }: Required<PluginProps>) {
  const text = useText();
  const [isRecorded, setRecorded] = useState(false);
  const { data: head, error, loading } = useApi<Schema["RunHead"]>(runPath(runId), isRecorded ? 0 : POLL_MS);
  if (head && !isRecorded) setRecorded(true);
  if (head) return <RecordedRun dagId={dagId} runId={runId} first={head} />;
  if (error instanceof ApiError && error.status === 404) return <Unrecorded dagId={dagId} runId={runId} />;
  return <p className="notice">{error instanceof ApiError ? error.message : text(loading ? "loading" : "unreachable")}</p>;
}

function Unrecorded({ dagId, runId }: Required<PluginProps>) {
  const text = useText();
  const { data: dagRun } = useDagRun(dagId, runId, AIRFLOW_MS);
  return (
    <>
      <QueuedRun dagId={dagId} runId={runId} state={dagRun?.state} />
      <p className="notice">{text("notRecorded")}</p>
    </>
  );
}

/** How long a run that has ended is followed: what is stopped on its hosts is recorded a moment later. */
const AFTERMATH_MS = 60_000;

const endedJustNow = (dagRun: DagRun | undefined) => !!dagRun?.end_date && Date.now() - Date.parse(dagRun.end_date) < AFTERMATH_MS;

const VIEWS = ["overview", "comparison", "plan", "preflight", "dataCheck", "lineage"] as const satisfies Key[];

function RecordedRun({ dagId, runId, first }: Required<PluginProps> & { first: Schema["RunHead"] }) {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const { data: dagRun, error } = useDagRun(dagId, runId, isReport ? 0 : AIRFLOW_MS);
  // Without Airflow's word, a run may go on.
  const live = dagRun ? isRunning(dagRun.state) : error ? !isReport : undefined;
  const { curves, state } = useCurves(first.key, live === false ? endedJustNow(dagRun) : live);
  const head = useLive<Schema["RunHead"]>(first.key, "head", state).data ?? first;
  const isLive = live ?? false;
  const origin = runAddress(dagId, runId);
  const view = VIEWS.find((name) => name === params.get("view")) ?? "overview";
  const show = (name: string) =>
    setParams((old) => {
      old.set("view", name);
      return old;
    });
  return (
    <>
      <div className="bar tabs">
        <Tabs label={text("run")} names={VIEWS} shown={view} title={text} onShow={show} />
        {isReport ? (
          origin && (
            <a className="end" href={origin} rel="noreferrer">
              {text("openInAirflow")}
            </a>
          )
        ) : (
          <a className="end" href={apiUrl(runPath(head.key, "/report.html"))} download>
            {text("saveReport")}
          </a>
        )}
      </div>
      {error && !isReport && <p className="notice bad-notice" role="status">{text("unreachable")}</p>}
      {!isReport && <QueuedRun dagId={dagId} runId={runId} state={dagRun?.state} />}
      <div role="tabpanel" id={PANEL_ID} aria-labelledby={tabId(view)}>
        {view === "overview" && (
          <Overview dagId={dagId} runId={runId} head={head} dagRun={dagRun} curves={curves} state={state} live={isLive} />
        )}
        {view === "comparison" && <Comparison run={head.key} cluster={head.cluster} live={head.verdict === null} />}
        {view === "plan" && <PlanView head={head} />}
        {view === "preflight" && <Preflight run={head.key} />}
        {view === "dataCheck" && <DataCheck run={head.key} live={isLive} />}
        {view === "lineage" && <Lineage run={head.key} live={isLive} />}
      </div>
    </>
  );
}
