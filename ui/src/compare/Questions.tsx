import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Schema } from "../api";
import { named, useText, type Key, type Translate } from "../i18n";
import type { Address } from "./address";
import { ANY, BUCKETS, filtered, FILTERS, groupOf, LEFT_OUT, options, type ChoiceName, type Filter, type QuestionLine } from "./filter";
import { QuestionList } from "./QuestionList";
import { QuestionView } from "./QuestionView";
import { Wanted } from "./wanted";

const NONE: QuestionLine[] = [];

interface Props {
  run: string;
  against: string | null;
  address: Address;
  /** All of the run's questions; undefined until they are loaded. */
  data: Schema["Questions"] | undefined;
}

/** Question by question: the filters, the list, and the one that is chosen. */
export function Questions({ run, against, address: { params, set }, data }: Props) {
  const text = useText();
  const all = data?.questions ?? NONE;
  const linked = all.find((q) => q.id === params.get("question"));
  // A link to a question that enters no number leads to its group.
  const given = FILTERS.map((name) => params.get(name) ?? (name === "change" ? (linked?.left_out ?? null) : null));
  // The list is drawn anew when a filter changes, and stays when another question is chosen.
  const filter = useMemo(() => Object.fromEntries(FILTERS.map((name, i) => [name, given[i]])) as Filter, given);
  const questions = useMemo(() => filtered(all, filter), [all, filter]);
  const groups = useMemo(() => {
    const counts = new Map<string, number>();
    for (const q of all) counts.set(groupOf(q), (counts.get(groupOf(q)) ?? 0) + 1);
    return counts;
  }, [all]);
  const choices = useMemo(() => CHOICES.map((choice) => ({ ...choice, values: options(all, choice.name) })), [all]);
  const chosen = Math.max(0, questions.findIndex((q) => q.id === params.get("question")));
  const current = questions[chosen];

  const [wanted] = useState(() => new Wanted());
  useEffect(() => wanted.show(current?.id), [current?.id]);
  const choose = (id: string) => {
    wanted.choose(id);
    set({ question: id });
  };

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea")) return;
      const step = { j: 1, k: -1 }[event.key];
      const next = step && questions[Math.max(0, questions.findIndex((q) => q.id === wanted.id)) + step];
      if (next) choose(next.id);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });

  // Who follows a link to a question wants to see it; who opens the tab begins at its top.
  const isLink = useRef(params.has("question"));
  const showLinked = useCallback((element: HTMLElement | null) => {
    if (element && isLink.current) element.scrollIntoView();
    isLink.current = false;
  }, []);

  if (!data) return <p className="muted">{text("loading")}</p>;
  const count = (names: readonly string[]) => names.reduce((sum, name) => sum + (groups.get(name) ?? 0), 0);
  return (
    <>
      <h2 id={LIST_ID}>{text("questions", { n: questions.length })}</h2>
      <div className="bar">
        <button
          type="button"
          aria-pressed={!filter.change}
          onClick={() => set(linked?.left_out ? { change: null, question: null } : { change: null })}
        >
          {text("all")} {count(BUCKETS)}
        </button>
        {[...BUCKETS, ...LEFT_OUT.filter((name) => groups.has(name))].map((name) => (
          <button key={name} type="button" aria-pressed={filter.change === name} onClick={() => set({ change: name })}>
            {text(name)} {count([name])}
          </button>
        ))}
        {choices.map(({ name, label, title, values }) => (
          <Choice
            key={name}
            label={text(label)}
            chosen={filter[name]}
            values={values}
            title={(value) => title(text, value)}
            onChoose={(value) => set({ [name]: value })}
          />
        ))}
        <input
          type="search"
          aria-label={text("search")}
          placeholder={text("search")}
          defaultValue={filter.text ?? ""}
          maxLength={200}
          onChange={(e) => set({ text: e.target.value })}
        />
        <span className="muted end">{text("keys")}</span>
      </div>
      {current ? (
        <div className="split" ref={showLinked}>
          <QuestionList questions={questions} current={current} onChoose={choose} />
          <QuestionView run={run} id={current.id} against={against} />
        </div>
      ) : (
        <p className="muted">{text("noAnswers")}</p>
      )}
    </>
  );
}

const LIST_ID = "sqltune-questions";
/** Bring the list of questions into view. */
export const showList = () => document.getElementById(LIST_ID)?.scrollIntoView();

/** `mismatch.join` for people. */
function outcomeTitle(text: Translate, value: string): string {
  const [outcome = "", detail] = value.split(".");
  return [named(text, "outcome", outcome), ...(detail ? [named(text, "class", detail)] : [])].join(": ");
}

const CHOICES: { name: ChoiceName; label: Key; title: (text: Translate, value: string) => string }[] = [
  { name: "outcome", label: "outcome", title: outcomeTitle },
  { name: "doubt", label: "doubtful", title: (text, value) => (value === ANY ? text("anyReason") : named(text, "reason", value)) },
  { name: "guarded", label: "guarded", title: (text, value) => text(value === "yes" ? "yes" : "no") },
  { name: "language", label: "language", title: (text, value) => named(text, "language", value) },
  { name: "hardness", label: "hardness", title: (text, value) => named(text, "hardness", value) },
  { name: "clause", label: "clause", title: (text, value) => named(text, "clause", value) },
  { name: "database", label: "database", title: (_, value) => value },
];

interface ChoiceProps {
  label: string;
  chosen: string | null;
  values: string[];
  title: (value: string) => string;
  onChoose: (value: string | null) => void;
}

/** A filter by one property; left out where all questions are alike in it. */
function Choice({ label, chosen, values, title, onChoose }: ChoiceProps) {
  if (!values.length && !chosen) return null;
  // What stands in the address is shown, even if no question has it.
  const shown = chosen && !values.includes(chosen) ? [...values, chosen] : values;
  return (
    <label>
      {label}{" "}
      <select value={chosen ?? ""} onChange={(e) => onChoose(e.target.value || null)}>
        <option value="">–</option>
        {shown.map((value) => (
          <option key={value} value={value}>
            {title(value).slice(0, LONGEST_OPTION)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Characters; the name of a database without a file is that of all of its tables. */
const LONGEST_OPTION = 80;
