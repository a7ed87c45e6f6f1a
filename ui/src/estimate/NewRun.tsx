import { useState } from "react";
import { apiUrl, useApi, withQuery, type Schema } from "../api";
import { Copyable } from "../Copyable";
import { useText } from "../i18n";
import { EstimateTable } from "./EstimateTable";

/** What a new run would take, and the values for Airflow's trigger form: this page itself starts nothing. */
export function NewRun() {
  const text = useText();
  const [open, setOpen] = useState(false);
  return (
    <>
      <div className="bar">
        <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
          {text("newRun")}
        </button>
      </div>
      {open && <Panel />}
    </>
  );
}

function Panel() {
  const text = useText();
  const { data: choices } = useApi<Schema["Choices"]>("sqltune/api/v1/choices");
  const [chosen, setChosen] = useState<{ recipe?: string; cluster?: string; preset?: string }>({});
  const form = { recipe: chosen.recipe ?? choices?.recipe, cluster: chosen.cluster ?? choices?.cluster, preset: chosen.preset || undefined };
  const { data, error } = useApi<Schema["NewRunEstimate"]>(choices ? withQuery("sqltune/api/v1/estimate", form) : null);
  if (!choices) return <p className="muted">{text("loading")}</p>;
  return (
    <section aria-label={text("newRun")}>
      <div className="bar">
        <Select label={text("recipe")} choices={choices.recipes} value={form.recipe} onChoose={(recipe) => setChosen({ ...chosen, recipe })} />
        <Select label={text("cluster")} choices={choices.clusters} value={form.cluster} onChoose={(cluster) => setChosen({ ...chosen, cluster })} />
        <Select
          label={text("preset")}
          choices={[{ name: "", description: "" }, ...choices.presets]}
          value={form.preset ?? ""}
          onChoose={(preset) => setChosen({ ...chosen, preset })}
        />
      </div>
      <Meaning choices={[choices.recipes, choices.clusters, choices.presets]} names={[form.recipe, form.cluster, form.preset]} />
      {error && (
        <p className="notice bad-notice" role="alert">
          {text("noEstimate", { problem: error.message })}
        </p>
      )}
      {data && <Estimated answer={data} />}
      {data?.mistakes.length === 0 && <Trigger form={form} />}
    </section>
  );
}

interface SelectProps {
  label: string;
  choices: Schema["Choice"][];
  value: string | undefined;
  onChoose: (name: string) => void;
}

function Select({ label, choices, value, onChoose }: SelectProps) {
  const text = useText();
  return (
    <label>
      {label}{" "}
      <select value={value} onChange={(event) => onChoose(event.target.value)}>
        {choices.map(({ name }) => (
          <option key={name} value={name}>
            {name ? name.replaceAll("_", " ") : text("noPreset")}
          </option>
        ))}
      </select>
    </label>
  );
}

/** What the chosen ones say of themselves. */
function Meaning({ choices, names }: { choices: Schema["Choice"][][]; names: (string | undefined)[] }) {
  const described = choices.map((group, index) => group.find(({ name }) => name === names[index])?.description);
  return <p className="muted">{described.filter(Boolean).join(" · ")}</p>;
}

function Estimated({ answer }: { answer: Schema["NewRunEstimate"] }) {
  const text = useText();
  return (
    <>
      {answer.mistakes.length > 0 && (
        <div className="notice bad-notice" role="alert">
          <strong>{text("refused")}</strong>
          {answer.mistakes.map((mistake) => (
            <p key={mistake} className="text">
              {mistake}
            </p>
          ))}
        </div>
      )}
      {answer.estimate && (
        <>
          <p className="text">
            {answer.base_model}, {answer.dataset_repo}. {text("afterwards")}: {text(`promotes_${answer.promote as "yes" | "ask" | "hold"}`)}.
          </p>
          <EstimateTable estimate={answer.estimate} taken={null} />
        </>
      )}
    </>
  );
}

/** How to trigger it. Airflow's form takes no values from an address: they are pasted, and fill in its fields. */
function Trigger({ form }: { form: Record<string, string | undefined> }) {
  const text = useText();
  return (
    <>
      <p>
        <a href={apiUrl("dags/text2sql_retrain")}>{text("openDag")}</a> {text("pasteConf")}
      </p>
      <Copyable title={text("configuration")} label={text("configuration")} value={JSON.stringify(form)} />
    </>
  );
}
