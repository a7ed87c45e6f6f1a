import { useEffect } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter, MemoryRouter, useLocation } from "react-router-dom";
import { isReport } from "./api";
import { App } from "./App";
import { adoptSearch, followTheme, host, openInHost, publishSearch } from "./host";
import { addStyle } from "./style";

/**
 * The app as a document of its own: in a frame, for an Airflow that loads no React plugins, and in a saved
 * report, whose address in a file system cannot be changed.
 */
addStyle();
if (host) {
  followTheme(host);
  adoptSearch(host);
}
const Router = isReport ? MemoryRouter : BrowserRouter;
const root = document.getElementById("root");
const [, dagId, runId] = /\/frame\/([^/]+)\/([^/]+)$/.exec(location.pathname)?.map(decodeURIComponent) ?? [];

function Framed({ page }: { page: Window }) {
  const { search } = useLocation();
  useEffect(() => publishSearch(page, search), [page, search]);
  return <App dagId={dagId} runId={runId} onLink={(path) => openInHost(page, new URL(path, document.baseURI).href)} />;
}

if (root)
  createRoot(root).render(
    <Router>
      {host ? <Framed page={host} /> : <App dagId={root.dataset.dagId ?? dagId} runId={root.dataset.runId ?? runId} />}
    </Router>,
  );
