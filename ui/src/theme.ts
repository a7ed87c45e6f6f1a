import { useSyncExternalStore } from "react";

const root = globalThis.document?.documentElement;
const dark = globalThis.matchMedia?.("(prefers-color-scheme: dark)");
/** Airflow sets a class, the frame a style, and a saved report follows the operating system. */
const snapshot = () => `${root?.className} ${root?.style.colorScheme} ${dark?.matches}`;

function subscribe(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  observer.observe(root, { attributes: true, attributeFilter: ["class", "style"] });
  dark.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    dark.removeEventListener("change", changed);
  };
}

/** A text that changes with the theme: what draws on a canvas has to draw again. */
export const useTheme = (): string => useSyncExternalStore(subscribe, snapshot);
