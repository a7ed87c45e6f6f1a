import { useRef, useState } from "react";
import { useText } from "./i18n";

interface Props {
  title: string;
  /** Name of the text for those who cannot see it. */
  label: string;
  value: string;
}

/** A text with a button that copies it. */
export function Copyable({ title, label, value }: Props) {
  const text = useText();
  const block = useRef<HTMLPreElement>(null);
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    if (block.current && (await copyText(value, block.current))) setCopied(true);
  };
  return (
    <figure>
      <figcaption className="bar">
        {title}
        <button type="button" className="end" onClick={() => void copy()}>
          {text(copied ? "copied" : "copy")}
        </button>
      </figcaption>
      <pre ref={block} tabIndex={0} aria-label={label}>{value}</pre>
    </figure>
  );
}

/** Copy a text; over plain http, where browsers give no access to the clipboard, select it at least. */
async function copyText(value: string, shown: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {
    getSelection()?.selectAllChildren(shown);
    return document.execCommand("copy");
  }
}
