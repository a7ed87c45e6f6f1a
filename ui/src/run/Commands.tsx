import { useRef, useState } from "react";
import { runPath, useApi, type Schema } from "../api";
import { useText } from "../i18n";
import { commandText } from "./commandText";

/** The commands of the run's gangs, as a person would type them on each host. */
export function Commands({ run }: { run: string }) {
  const text = useText();
  const { data } = useApi<Schema["Commands"]>(runPath(run, "/commands"));
  if (!data) return null;
  return (
    <>
      <h2>{text("commands")}</h2>
      <p className="muted">{text(data.tasks.length ? "commandsMeaning" : "noCommands")}</p>
      {data.tasks.map((task) => (
        <details key={task.task}>
          <summary>{task.task}</summary>
          {task.commands.map((command) => (
            <Command key={command.host} title={command.host} command={commandText(command)} />
          ))}
        </details>
      ))}
    </>
  );
}

function Command({ title, command }: { title: string; command: string }) {
  const text = useText();
  const block = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    if (block.current && (await copyText(command, block.current))) setCopied(true);
  };
  return (
    <figure>
      <figcaption className="bar">
        {title}
        <button type="button" className="end" onClick={() => void copy()}>
          {text(copied ? "copied" : "copy")}
        </button>
      </figcaption>
      <pre ref={block} tabIndex={0} aria-label={`${text("commands")}: ${title}`}>{command}</pre>
    </figure>
  );
}

/** Copy a text; over plain http, where browsers give no access to the clipboard, select it at least. */
async function copyText(command: string, shown: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(command);
    return true;
  } catch {
    getSelection()?.selectAllChildren(shown);
    return document.execCommand("copy");
  }
}
