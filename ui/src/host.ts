/**
 * Airflow's page around the frame: of the same origin, so the frame follows its theme, opens its addresses and
 * keeps its own state in its address. The sandbox that Airflow gives to a frame forbids plain links to it.
 */
export const host: Window | undefined = (() => {
  if (window.parent === window) return undefined;
  try {
    return window.parent.location.origin === location.origin ? window.parent : undefined;
  } catch {
    return undefined; // Another origin.
  }
})();

/** Open one of Airflow's pages around the frame: its router listens to changes of the history. */
export function openInHost(page: Window, address: string): void {
  page.history.pushState(null, "", address);
  page.dispatchEvent(new PopStateEvent("popstate"));
}

/** Take over the filters that stand in the page's address: it is the one that people copy. */
export function adoptSearch(page: Window): void {
  if (page.location.search) history.replaceState(history.state, "", location.pathname + page.location.search);
}

export function publishSearch(page: Window, search: string): void {
  if (page.location.search === search) return;
  page.history.replaceState(page.history.state, "", page.location.pathname + search);
}

/** Follow Airflow's dark mode, which is not that of the operating system. */
export function followTheme(page: Window): void {
  const root = page.document.documentElement;
  const follow = () => {
    document.documentElement.style.colorScheme = root.classList.contains("dark") ? "dark" : "light";
  };
  follow();
  new MutationObserver(follow).observe(root, { attributes: true, attributeFilter: ["class"] });
}
