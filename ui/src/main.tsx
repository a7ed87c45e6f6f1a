import { App } from "./App";
import { addStyle } from "./style";

addStyle();
// Airflow looks for a plugin's component under its name, and imports the file once for all of them.
Object.assign(globalThis, { "Text-to-SQL": App, "Text-to-SQL history": App });
