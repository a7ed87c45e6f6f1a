import { useState } from "react";
import { useSearchParams } from "react-router-dom";
import { ApiError, isReport, runPath, useApi, type Schema } from "./api";
import { Comparison } from "./compare/Comparison";
import { History } from "./history/History";
import { initialLanguage, LanguageContext, translate, useText, type Key, type Language } from "./i18n";
import { LIVE_MS, Overview } from "./run/Overview";
import { PlanView } from "./run/PlanView";

/** What Airflow gives a plugin's component. */
export interface PluginProps {
  dagId?: string;
  runId?: string;
}

export function App({ dagId, runId }: PluginProps) {
  const [language, setLanguage] = useState<Language>(initialLanguage);
  const text = translate(language);
  const choose = (chosen: Language) => {
    localStorage.setItem("sqltune.language", chosen);
    setLanguage(chosen);
  };
  return (
    <LanguageContext.Provider value={language}>
      <div className="sqltune" lang={language}>
        <div className="bar">
          <span className="end" />
          {(["en", "zh"] as const).map((name) => (
            <button key={name} type="button" lang={name} aria-pressed={language === name} onClick={() => choose(name)}>
              {name === "en" ? "English" : "中文"}
            </button>
          ))}
        </div>
        {dagId && runId ? <Run key={runId} dagId={dagId} runId={runId} /> : <History />}
        <footer className="muted" aria-label={text("history")} />
      </div>
    </LanguageContext.Provider>
  );
}

const VIEWS: Key[] = ["overview", "comparison", "plan"];

function Run({ dagId, runId }: Required<PluginProps>) {
  const text = useText();
  const [params, setParams] = useSearchParams();
  const { data: head, error, loading } = useApi<Schema["RunHead"]>(runPath(runId), LIVE_MS);
  const view = VIEWS.find((name) => name === params.get("view")) ?? "overview";
  if (!head) {
    if (error instanceof ApiError && error.status === 404) return <p className="notice">{text("notRecorded")}</p>;
    return <p className="notice">{error instanceof ApiError ? error.message : text(loading ? "loading" : "unreachable")}</p>;
  }
  return (
    <>
      {error && <p className="notice bad-notice" role="status">{text("unreachable")}</p>}
      <div role="tablist" className="bar" aria-label={text("run")}>
        {VIEWS.map((name) => (
          <button key={name} id={`sqltune-tab-${name}`} type="button" role="tab" aria-selected={view === name} aria-controls="sqltune-view" onClick={() => setParams({ view: name })}>
            {text(name)}
          </button>
        ))}
      </div>
      {!isReport && (
        <p className="muted">
          <a href={new URL(runPath(head.key, "/report.html"), document.baseURI).href} download>
            {text("saveReport")}
          </a>
        </p>
      )}
      <div role="tabpanel" id="sqltune-view" aria-labelledby={`sqltune-tab-${view}`}>
        {view === "overview" && <Overview dagId={dagId} runId={runId} head={head} />}
        {view === "comparison" && <Comparison run={head.key} cluster={head.cluster} live={head.verdict === null} />}
        {view === "plan" && <PlanView run={head.key} />}
      </div>
    </>
  );
}
