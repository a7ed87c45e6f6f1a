import type { KeyboardEvent } from "react";

interface Props<Name extends string> {
  label: string;
  names: readonly Name[];
  shown: Name;
  title: (name: Name) => string;
  onShow: (name: Name) => void;
}

/** A list of tabs: arrow keys, Home and End go from one to the next, Tab leaves the list. */
export function Tabs<Name extends string>({ label, names, shown, title, onShow }: Props<Name>) {
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    // From the tab with the focus: what is shown follows the address, and comes a moment later.
    const at = names.findIndex((name) => tabId(name) === (event.target as HTMLElement).id);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + names.length, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const name = names[to % names.length];
    if (!name) return;
    onShow(name);
    document.getElementById(tabId(name))?.focus();
  };
  return (
    <div role="tablist" aria-label={label} onKeyDown={onKeyDown}>
      {names.map((name) => (
        <button
          key={name}
          id={tabId(name)}
          type="button"
          role="tab"
          aria-selected={shown === name}
          aria-controls={PANEL_ID}
          tabIndex={shown === name ? 0 : -1}
          onClick={() => onShow(name)}
        >
          {title(name)}
        </button>
      ))}
    </div>
  );
}

export const PANEL_ID = "sqltune-view";
export const tabId = (name: string) => `sqltune-tab-${name}`;
