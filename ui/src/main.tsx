import { useNavigate } from "react-router-dom";
import { App, type PluginProps } from "./App";
import { addStyle } from "./style";

addStyle();

function Tab(props: PluginProps) {
  const navigate = useNavigate();
  return <App {...props} onLink={(path) => void navigate(`/${path}`)} />;
}

// Airflow looks for a plugin's component under its name, and imports the file once for all of them.
Object.assign(globalThis, { "Text-to-SQL": Tab, Models: Tab });
