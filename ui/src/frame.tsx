import { createRoot } from "react-dom/client";
import { BrowserRouter, MemoryRouter } from "react-router-dom";
import { isReport } from "./api";
import { App } from "./App";
import { addStyle } from "./style";

/**
 * The app as a document of its own: in a frame, for an Airflow that loads no React plugins, and in a saved
 * report, whose address in a file system cannot be changed.
 */
addStyle();
const Router = isReport ? MemoryRouter : BrowserRouter;
const root = document.getElementById("root");
if (root) {
  const query = new URLSearchParams(location.search);
  createRoot(root).render(
    <Router>
      <App
        dagId={root.dataset.dagId ?? query.get("dag_id") ?? undefined}
        runId={root.dataset.runId ?? query.get("run_id") ?? undefined}
      />
    </Router>,
  );
}
