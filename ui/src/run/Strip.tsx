import { useState } from "react";
import { isReport, runPath, useApi, withQuery, type Schema } from "../api";
import { percent } from "../format";
import { useText } from "../i18n";
import { POLL_MS, useLive, type StreamState } from "./stream";

type Host = Schema["Host"];
type Rank = Schema["Rank"];

const LINES = 200;

/** Hosts and ranks: state, step, speed, GPU, last line; the slow and the dead ones are marked. */
export function Strip({ run, state, live }: { run: string; state: StreamState; live: boolean }) {
  const text = useText();
  const { data: hosts } = useLive<Host[]>(run, "hosts", state);
  const [open, setOpen] = useState<{ log: string; rank: number | null } | null>(null);
  if (!hosts) return null;
  const toggle = (log: string, rank: number | null) =>
    setOpen((old) => (old?.log === log && old.rank === rank ? null : { log, rank }));
  return (
    <>
      <h2>{text("ranksOfHosts")}</h2>
      <div className="scroll" tabIndex={0} role="region" aria-label={text("ranksOfHosts")}>
        <table>
          <thead>
            <tr>
              <th scope="col">{text("host")}</th>
              <th scope="col" className="number">{text("rank")}</th>
              <th scope="col">{text("state")}</th>
              <th scope="col" className="number">{text("step")}</th>
              <th scope="col" className="number" title={text("stepTimeMeaning")}>{text("stepTime")}</th>
              <th scope="col" className="number">{text("gpu")}</th>
              <th scope="col" className="number">{text("memory")}</th>
              <th scope="col" className="number">{text("temperature")}</th>
              <th scope="col">{text("lastLine")}</th>
            </tr>
          </thead>
          <tbody>
            {hosts.flatMap((host) =>
              host.ranks.map((rank, i) => (
                <RankRow key={rank.rank} host={host} rank={rank} isFirst={i === 0} open={open} onOpen={toggle} />
              )),
            )}
          </tbody>
        </table>
      </div>
      {open && <LogTail run={run} log={open.log} rank={open.rank} live={live} />}
      <OtherLogs hosts={hosts} open={open?.log} onOpen={(log) => toggle(log, null)} />
    </>
  );
}

interface RowProps {
  host: Host;
  rank: Rank;
  isFirst: boolean;
  open: { log: string; rank: number | null } | null;
  onOpen: (log: string, rank: number | null) => void;
}

function RankRow({ host, rank, isFirst, open, onOpen }: RowProps) {
  const text = useText();
  const gpu = host.gpus.find((one) => one.gpu === rank.local_rank);
  const isOpen = open?.log === host.log && open?.rank === rank.rank;
  const flag = rank.flag ?? (host.failed && host.ranks.every((one) => one.flag !== "failed") ? "failed" : null);
  return (
    <tr className={flag ? "differs" : undefined}>
      {isFirst && (
        <th scope="rowgroup" rowSpan={host.ranks.length}>
          {host.name}
        </th>
      )}
      <td className="number">{rank.rank}</td>
      <td>
        {host.state || "–"}
        {flag && <strong className="bad"> {text(`flag_${flag}`)}</strong>}
      </td>
      <td className="number">{rank.step ?? "–"}</td>
      <td className="number">
        {rank.seconds != null && rank.seconds.toFixed(2)}
        {rank.relative != null && <span className="muted"> {text("relative", { n: rank.relative.toFixed(2) })}</span>}
        {rank.data_seconds != null && rank.seconds != null && rank.data_seconds > 0.1 * rank.seconds && (
          <div className="muted">{text("waitsForData", { n: rank.data_seconds.toFixed(2) })}</div>
        )}
      </td>
      <td className="number">{gpu?.use != null && percent(gpu.use / 100)}</td>
      <td className="number">{gpu ? `${gpu.memory_used} / ${gpu.memory_total} MiB` : rank.memory != null && `${rank.memory} MiB`}</td>
      <td className="number">{gpu?.temperature}</td>
      <td>
        {host.log && (
          <button type="button" className="line" aria-expanded={isOpen} onClick={() => host.log && onOpen(host.log, rank.rank)}>
            {rank.last_line || (isFirst && host.last_line) || text("show")}
          </button>
        )}
      </td>
    </tr>
  );
}

/** Logs of other gangs and of earlier attempts. */
function OtherLogs({ hosts, open, onOpen }: { hosts: Host[]; open: string | undefined; onOpen: (log: string) => void }) {
  const text = useText();
  const logs = hosts.flatMap((host) => host.logs);
  if (!logs.length) return null;
  return (
    <details>
      <summary>
        {text("logs")} ({logs.length})
      </summary>
      <div className="bar">
        {logs.map((log) => (
          <button key={log} type="button" aria-pressed={open === log} onClick={() => onOpen(log)}>
            {log}
          </button>
        ))}
      </div>
    </details>
  );
}

function LogTail({ run, log, rank, live }: { run: string; log: string; rank: number | null; live: boolean }) {
  const text = useText();
  // A saved report has the lines of hosts, and not those of each rank.
  const path = withQuery(runPath(run, `/logs/${encodeURIComponent(log)}`), { lines: LINES, rank: isReport ? null : rank });
  const { data, error } = useApi<Schema["Log"]>(path, live ? POLL_MS : 0);
  const name = rank === null ? log : `${log} · rank ${rank}`;
  return (
    <figure>
      <figcaption>{text("lastLinesOf", { name })}</figcaption>
      <pre tabIndex={0} aria-label={text("lastLinesOf", { name })}>{data?.text ?? error?.message ?? text("loading")}</pre>
    </figure>
  );
}
