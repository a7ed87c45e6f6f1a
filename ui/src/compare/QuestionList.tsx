import { memo, useEffect, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { flushSync } from "react-dom";
import { useText, type Translate } from "../i18n";
import { groupOf, type QuestionLine } from "./filter";

/** Longest part of a question that the list shows. */
const SHOWN = 300;

interface Props {
  questions: QuestionLine[];
  current: QuestionLine;
  onChoose: (id: string) => void;
}

/** Rows that are drawn together. */
const CHUNK = 50;
/** Height of a row of one line: what is not drawn yet takes up about as much room. */
const ROW_PX = 35;
/** Chunks are drawn when they come so near to what is seen. */
const NEAR = "600px";

/** All questions that the filter leaves: one stop for Tab, within it the arrow keys, Home and End. */
export function QuestionList({ questions, current, onChoose }: Props) {
  const text = useText();
  const list = useRef<HTMLDivElement>(null);
  // Rows stay as they are while another one is chosen; the function that chooses changes with the address.
  const choose = useRef(onChoose);
  choose.current = onChoose;
  const stable = useRef((id: string) => choose.current(id)).current;
  const filled = useRef({ questions, times: 0 });
  if (filled.current.questions !== questions) filled.current = { questions, times: filled.current.times + 1 };
  const chunks = useMemo(() => chunked(questions, CHUNK), [questions]);
  const at = questions.indexOf(current);
  // What is chosen follows the address, and comes a moment later: the focus goes ahead of it.
  const chosenByKey = useRef<string>(undefined);
  const [drawnFor, setDrawnFor] = useState(0);

  useEffect(() => {
    const ahead = chosenByKey.current;
    if (ahead !== undefined && ahead !== current.id && questions.some(({ id }) => id === ahead)) return;
    chosenByKey.current = undefined;
    const row = list.current?.querySelector<HTMLElement>('[aria-selected="true"]');
    if (!list.current || !row) return;
    scrollInto(list.current, row);
    if (list.current.contains(document.activeElement)) row.focus();
  }, [current.id]);

  const onKeyDown = (event: KeyboardEvent) => {
    const from = positionOf(event.target as HTMLElement);
    const to = { ArrowDown: from + 1, ArrowUp: from - 1, Home: 0, End: questions.length - 1 }[event.key];
    const next = to === undefined ? undefined : questions[to];
    if (to === undefined) return;
    event.preventDefault();
    if (!next || !list.current) return;
    chosenByKey.current = next.id;
    onChoose(next.id);
    flushSync(() => setDrawnFor(to));
    const row = list.current.querySelector<HTMLElement>(`[aria-posinset="${to + 1}"]`);
    if (!row) return;
    scrollInto(list.current, row);
    row.focus();
  };
  return (
    <div className="list" ref={list} role="listbox" aria-label={text("questions", { n: questions.length })} onKeyDown={onKeyDown}>
      {chunks.map((chunk, i) => (
        <Chunk
          key={`${filled.current.times} ${i}`}
          questions={chunk}
          first={i * CHUNK}
          total={questions.length}
          current={Math.floor(at / CHUNK) === i ? current : undefined}
          hasFocus={Math.floor(drawnFor / CHUNK) === i}
          text={text}
          onChoose={stable}
        />
      ))}
    </div>
  );
}

/** Position of a row in the list, from 0. */
const positionOf = (row: HTMLElement) => Number(row.getAttribute("aria-posinset")) - 1;

const chunked = <T,>(all: T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));

interface ChunkProps {
  questions: QuestionLine[];
  /** Position of its first question in the list. */
  first: number;
  total: number;
  /** The chosen question, if it is one of these. */
  current: QuestionLine | undefined;
  /** Whether a key has led to one of these. */
  hasFocus: boolean;
  text: Translate;
  onChoose: (id: string) => void;
}

/** A part of the list; it is drawn when it comes near, as a list of thousands is too much to draw for each filter. */
const Chunk = memo(function Chunk({ questions, first, total, current, hasFocus, text, onChoose }: ChunkProps) {
  const place = useRef<HTMLDivElement>(null);
  const [isNear, setNear] = useState(first === 0);
  const isDrawn = isNear || hasFocus || current !== undefined;
  useEffect(() => {
    if (isDrawn || !place.current) return;
    const root = place.current.closest(".list");
    const observer = new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && setNear(true),
      { root, rootMargin: NEAR },
    );
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [isDrawn]);
  if (!isDrawn) return <div ref={place} role="none" style={{ height: questions.length * ROW_PX }} />;
  return (
    <div role="none">
      {questions.map((question, i) => (
        <Row
          key={question.id}
          question={question}
          chosen={question === current}
          position={first + i + 1}
          total={total}
          text={text}
          onChoose={onChoose}
        />
      ))}
    </div>
  );
});

/** Scroll the list, and nothing around it, until a row is seen. */
function scrollInto(list: HTMLElement, row: HTMLElement) {
  const [outer, inner] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
  if (inner.top < outer.top) list.scrollTop += inner.top - outer.top;
  else if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom;
}

interface RowProps {
  question: QuestionLine;
  chosen: boolean;
  /** From 1; with the total it tells a screen reader where in the list the row is. */
  position: number;
  total: number;
  text: Translate;
  onChoose: (id: string) => void;
}

const Row = memo(function Row({ question, chosen, position, total, text, onChoose }: RowProps) {
  const color = { lost: "bad", gained: "good", both_wrong: "muted", both_right: "muted" }[question.change];
  // In the group of the reference prompts, what became of each is of interest, and not that it is one.
  const label = question.left_out === "reference_prompt" ? question.change : groupOf(question);
  return (
    <button
      type="button"
      role="option"
      aria-selected={chosen}
      aria-posinset={position}
      aria-setsize={total}
      tabIndex={chosen ? 0 : -1}
      onClick={() => onChoose(question.id)}
    >
      <span className={color}>{text(label)}</span> {question.question.slice(0, SHOWN)}
      {question.flags.length > 0 && <span className="flag">{text("doubtful")}</span>}
    </button>
  );
});
