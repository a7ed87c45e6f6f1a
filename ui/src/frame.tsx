import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router-dom";
import { App } from "./App";
import { addStyle } from "./style";

/** The app as a document of its own, for an Airflow that loads no React plugins: shown in a frame. */
addStyle();
const query = new URLSearchParams(location.search);
const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <BrowserRouter>
      <App dagId={query.get("dag_id") ?? undefined} runId={query.get("run_id") ?? undefined} />
    </BrowserRouter>,
  );
