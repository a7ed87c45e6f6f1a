import { useMemo } from "react";
import { runPath, useApi, withQuery, type Schema } from "../api";
import { named, useText, type Translate } from "../i18n";
import { groupOf } from "./filter";
import { Explanations } from "./Witness";
import { markTokens } from "./tokens";

/** Longest text that is drawn of an answer: a model that rambles may return 100 KB. */
const SHOWN = 20_000;

/** One question of a run: what was asked, the three queries, and why each answer was judged so. */
export function QuestionView({ run, id, against }: { run: string; id: string; against: string | null }) {
  const text = useText();
  const { data: question, error } = useApi<Schema["Question"]>(withQuery(runPath(run, "/question"), { id, against }));
  if (!question) return <p className="muted">{error?.message ?? text("loading")}</p>;
  return (
    <article aria-label={question.id}>
      <p className="text">
        <strong>{question.question.slice(0, SHOWN)}</strong>
      </p>
      <p className="muted text">{facts(question, text).join(" · ")}</p>
      {question.flags.length > 0 && (
        <section className="notice" aria-label={text("doubtfulHere")}>
          <strong>{text("doubtfulHere")}</strong>
          <ul>
            {question.flags.map((flag) => (
              <li key={`${flag.reason} ${flag.detail}`} className="text">
                {named(text, "reason", flag.reason)}: {flag.detail.slice(0, SHOWN)}
              </li>
            ))}
          </ul>
        </section>
      )}
      <h3>{text("expected")}</h3>
      <div className="gold">
        <Sql sql={question.gold} other={question.after.sql || question.gold} />
      </div>
      <div className="columns">
        <AnswerView title={text("before")} answer={question.before} gold={question.gold} />
        <AnswerView title={text("after")} answer={question.after} gold={question.gold} />
      </div>
      <Explanations run={run} id={id} against={against} />
      <h3>{text("schema")}</h3>
      <pre>{question.context.slice(0, SHOWN)}</pre>
    </article>
  );
}

/** What is known of a question beside its text. */
function facts(question: Schema["Question"], text: Translate): string[] {
  return [
    question.id,
    text(groupOf(question)),
    named(text, "language", question.language),
    named(text, "hardness", question.hardness),
    question.database_name,
    question.guarded ? text("guarded") : "",
  ].filter(Boolean);
}

function AnswerView({ title, answer, gold }: { title: string; answer: Schema["Answer"]; gold: string }) {
  const text = useText();
  return (
    <section>
      <h3>
        {title}: <span className={answer.correct ? "good" : "bad"}>{verdictOn(answer, text)}</span>
      </h3>
      <Sql sql={answer.sql || answer.text} other={gold} />
      {answer.reason && <p className="text">{answer.reason.slice(0, SHOWN)}</p>}
    </section>
  );
}

function verdictOn({ outcome, vacuous, failure_class, error_class }: Schema["Answer"], text: Translate): string {
  const detail = failure_class ?? error_class;
  const title = named(text, "outcome", vacuous ? "vacuous" : outcome);
  return detail ? `${title}: ${named(text, "class", detail)}` : title;
}

function Sql({ sql, other }: { sql: string; other: string }) {
  const tokens = useMemo(() => markTokens(sql.slice(0, SHOWN), other.slice(0, SHOWN)), [sql, other]);
  return (
    <pre>
      <code>{tokens.map((token, i) => (token.differs ? <mark key={i}>{token.text}</mark> : token.text))}</code>
    </pre>
  );
}
