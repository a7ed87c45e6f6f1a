import { runPath, useApi, type Schema } from "../api";
import { Copyable } from "../Copyable";
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
            <Copyable key={command.host} title={command.host} label={`${text("commands")}: ${command.host}`} value={commandText(command)} />
          ))}
        </details>
      ))}
    </>
  );
}
