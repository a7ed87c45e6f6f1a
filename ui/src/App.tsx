import { useState, type MouseEvent } from "react";
import { useSearchParams } from "react-router-dom";
import { ApiError, isReport, runPath, useApi, type Schema } from "./api";
import { Comparison } from "./compare/Comparison";
import { History } from "./history/History";
import { initialLanguage, LanguageContext, translate, useText, type Key, type Language } from "./i18n";
import { LIVE_MS, Overview } from "./run/Overview";
import { PlanView } from "./run/PlanView";
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

const VIEWS = ["overview", "comparison", "plan"] as const satisfies Key[];

function Run({ dagId, runId }: Required<PluginProps>) {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const { data: head, error, loading } = useApi<Schema["RunHead"]>(runPath(runId), LIVE_MS);
  const view = VIEWS.find((name) => name === params.get("view")) ?? "overview";
  const show = (name: string) =>
    setParams((old) => {
      old.set("view", name);
      return old;
    });
  if (!head) {
    if (error instanceof ApiError && error.status === 404) return <p className="notice">{text("notRecorded")}</p>;
    return <p className="notice">{error instanceof ApiError ? error.message : text(loading ? "loading" : "unreachable")}</p>;
  }
  return (
    <>
      <div className="bar tabs">
        <Tabs label={text("run")} names={VIEWS} shown={view} title={text} onShow={show} />
        {!isReport && (
          <a className="end" href={new URL(runPath(head.key, "/report.html"), document.baseURI).href} download>
            {text("saveReport")}
          </a>
        )}
      </div>
      {error && <p className="notice bad-notice" role="status">{text("unreachable")}</p>}
      <div role="tabpanel" id={PANEL_ID} aria-labelledby={tabId(view)}>
        {view === "overview" && <Overview dagId={dagId} runId={runId} head={head} />}
        {view === "comparison" && <Comparison run={head.key} cluster={head.cluster} live={head.verdict === null} />}
        {view === "plan" && <PlanView run={head.key} />}
      </div>
    </>
  );
}
