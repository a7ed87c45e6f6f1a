import style from "./style.css?inline";
import chartStyle from "uplot/dist/uPlot.min.css?inline";

/** Add the page's style sheet; as a constructed one it needs no exception in a Content-Security-Policy. */
export function addStyle(): void {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(chartStyle + style);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}
