import { memo, useEffect, useRef, type KeyboardEvent } from "react";
import { useText } from "../i18n";
import { groupOf, type QuestionLine } from "./filter";

/** Longest part of a question that the list shows. */
const SHOWN = 300;

interface Props {
  questions: QuestionLine[];
  current: QuestionLine;
  onChoose: (id: string) => void;
}

/** All questions that the filter leaves: one stop for Tab, within it the arrow keys, Home and End. */
export function QuestionList({ questions, current, onChoose }: Props) {
  const text = useText();
  const list = useRef<HTMLDivElement>(null);
  // Rows stay as they are while another one is chosen; the function that chooses changes with the address.
  const choose = useRef(onChoose);
  choose.current = onChoose;
  const stable = useRef((id: string) => choose.current(id)).current;

  useEffect(() => {
    const row = list.current?.querySelector<HTMLElement>('[aria-selected="true"]');
    if (!list.current || !row) return;
    scrollInto(list.current, row);
    if (list.current.contains(document.activeElement)) row.focus();
  }, [current.id]);

  const onKeyDown = (event: KeyboardEvent) => {
    const at = questions.indexOf(current);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: questions.length - 1 }[event.key];
    const next = to === undefined ? undefined : questions[to];
    if (to === undefined) return;
    event.preventDefault();
    if (next) onChoose(next.id);
  };
  // In the group of the reference prompts, what became of each is of interest, and not that it is one.
  const labelOf = (question: QuestionLine) => text(question.left_out === "reference_prompt" ? question.change : groupOf(question));
  const doubtful = text("doubtful");
  return (
    <div className="list" ref={list} role="listbox" aria-label={text("questions", { n: questions.length })} onKeyDown={onKeyDown}>
      {questions.map((question) => (
        <Row key={question.id} question={question} chosen={question === current} label={labelOf(question)} doubtful={doubtful} onChoose={stable} />
      ))}
    </div>
  );
}

/** Scroll the list, and nothing around it, until a row is seen. */
function scrollInto(list: HTMLElement, row: HTMLElement) {
  const [outer, inner] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
  if (inner.top < outer.top) list.scrollTop += inner.top - outer.top;
  else if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom;
}

interface RowProps {
  question: QuestionLine;
  chosen: boolean;
  label: string;
  /** What a doubtful gold query is called. */
  doubtful: string;
  onChoose: (id: string) => void;
}

const Row = memo(function Row({ question, chosen, label, doubtful, onChoose }: RowProps) {
  const color = { lost: "bad", gained: "good", both_wrong: "muted", both_right: "muted" }[question.change];
  return (
    <button type="button" role="option" aria-selected={chosen} tabIndex={chosen ? 0 : -1} onClick={() => onChoose(question.id)}>
      <span className={color}>{label}</span> {question.question.slice(0, SHOWN)}
      {question.flags.length > 0 && <span className="flag">{doubtful}</span>}
    </button>
  );
});
