"""Shell text of a detached job on a host: pure functions, sent to bash by whoever holds the connection.

On each host a gang has one folder:

    claim           attempt, fence, generation and spec of the try that owns it     go        a FIFO: the word that starts it
    owner           who to ask whether it is still wanted                           output    what it printed, stdout and stderr
    job.sh          what runs                                                       ranks/    each rank's own output, from torchrun
    pid             process group, start time, boot                                 started   when the program started
    exit            its exit code (or `stopped`, `not_started`, `refused`) and when    taken     bytes of output delivered to the task's log

Times are the host's own clock. `prepare_command` and `follow_command` stay on the line and read words from their input; `interactive_command` says how they are sent.
"""

from __future__ import annotations

import re
import shlex

from ssh_gang.model import Gang, Member

MARKER = "SQLTUNE_GANG"
"""Variable that marks every process of a try."""

EXCLUSIVE = "SQLTUNE_EXCLUSIVE"
"""Variable of a gang that wants its hosts for itself."""

SERVING = "SQLTUNE_SERVING"
"""Variable of our model servers (`include/node/serving.py`): they may hold a GPU beside a training, and are no strangers."""

MAX_FENCING_TOKEN = 2**62
"""The fence of who may stop any try: the reaper."""


def path(text: str) -> str:
    """A path as shell text: quoted, with a leading ~ left to the shell of the host."""
    if text == "~":
        return "~"
    return f"~/{shlex.quote(text[2:])}" if text.startswith("~/") else shlex.quote(text)


def env_value(value: str) -> str:
    """A value for export; a leading ~/ and each ~/ after a colon mean the home of the host."""
    return ":".join(path(part) if part.startswith("~/") else shlex.quote(part) for part in value.split(":"))


def _word(argument: str) -> str:
    return path(argument) if argument.startswith("~/") else shlex.quote(argument)


def command_line(member: Member) -> str:
    """A member's command as a person would type it in its cwd."""
    return " ".join(_word(a) for a in member.argv)


def interactive_command(script: str) -> tuple[str, bytes]:
    """The command that runs a script whose input stays open behind it, and what to send first.

    As an argument a script may be 128 KiB; as bash's input it would be read byte by byte, and swallow the words meant for it.
    """
    text = script.encode()
    return f"exec bash -c 'eval \"$(head -c {len(text)})\"'", text


# By the marker in their environment, since torch workers have sessions of their own. A zombie's environment is empty.
_FIND = r"""
marked() { grep -lzxF -e "$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3; }
"""

# Another gang that wants the host for itself. Living processes are asked, not a lock file: those can't be stale.
_BUSY = rf"""
busy() {{
  for at in $(grep -lzxF -e '{EXCLUSIVE}=1' /proc/[0-9]*/environ 2>/dev/null); do
    who=$(tr '\0' '\n' <"$at" 2>/dev/null | sed -n 's/^{MARKER}=//p')
    case "$who" in "$1@"* | '') ;; *) echo "$who"; return 0 ;; esac
  done
  return 1
}}
"""


def _gpu_pids(accelerator: str) -> str:
    """A shell function that prints what holds the host's GPUs, a process a line: its pid first."""
    tool = {
        "cuda": "timeout 20 nvidia-smi --query-compute-apps=pid,process_name,used_memory --format=csv,noheader",
        "rocm": "timeout 20 rocm-smi --showpids",
        "cpu": "true",
    }[accelerator]
    # rocm-smi lists processes that have once opened /dev/kfd and hold nothing (0 bytes): those are no tenants.
    return f"""
tenants() {{ {tool} 2>/dev/null | awk '{"$1 ~ /^[0-9]+$/ && $(NF-2) != 0" if accelerator == "rocm" else "$1 ~ /^[0-9]+,?$/"} {{sub(",", " "); print}}'; }}
"""


def _samples(accelerator: str) -> str:
    """The command that says how busy the GPUs are and how full, or nothing where there are none."""
    return {
        "cuda": "timeout 20 nvidia-smi --query-gpu=index,utilization.gpu,memory.used,memory.total --format=csv",
        "rocm": "timeout 20 rocm-smi --showuse --showmeminfo vram --json",
        "cpu": "",
    }[accelerator]


def job_script(gang: Gang, member: Member) -> str:
    """What the waiting process runs: wait for the word, run the program, keep its exit code."""
    env = dict(member.env)
    exports = [f"export {name}={env_value(value)}" for name, value in env.items()]
    if member.path_prefix:
        exports.insert(0, f"export PATH={path(member.path_prefix)}:$PATH")
    if member.ranks:
        # torchrun's own options by their variables: the command stays the one a person would type.
        exports.append(
            "export PET_LOG_DIR=\"$folder/ranks\" PET_REDIRECTS=3 PET_TEE=3 TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE='[rank ${rank}]:'"
        )
    lines = "\n".join(exports)
    return f"""\
#!/bin/bash
# {member.host}: {gang.marker}
set -u
folder={path(gang.folder)}
{lines}
cd {path(member.cwd)} || exit 1
ended() {{ echo "$1 ${{EPOCHREALTIME/,/.}}" >"$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"; }}
exec 3<>"$folder/go"
echo "$$ $(cut -d' ' -f22 /proc/$$/stat) $(cat /proc/sys/kernel/random/boot_id)" >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
# Nobody says go: this process does not wait for ever.
if ! read -r -t {int(gang.limits.prepare) + 60} -u 3 word || [ "$word" != start ]; then ended not_started; exit 0; fi
exec 3>&-
echo "${{EPOCHREALTIME/,/.}}" >"$folder/started"
{command_line(member)} >>"$folder/output" 2>&1 </dev/null &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM INT HUP
wait $child; code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
ended $code
"""


def prepare_command(gang: Gang, member: Member, replace: str | None = None) -> str:
    """Claim the folder, write the files, start the waiting process; then read words: `time`, `start`, or anything else to disarm.

    Prints `prepared`, `claimed=…`, `busy=…` or `refused=…`, and what `time` and `start` answer. `replace` is the
    attempt whose folder may be put aside, with its log; any other owner stays. The end of the input disarms: whoever armed has gone.
    """
    files = "\n".join(
        f'mkdir -p -- "$(dirname -- {shlex.quote(name)})" && printf %s {shlex.quote(text)} >{shlex.quote(name)} || fail "can\'t write {shlex.quote(name)} (disk full?)"'
        for name, text in member.files.items()
    )
    port = ""
    if member.port_free:
        # Read from the kernel's table, so that the look itself opens nothing.
        port = (
            f"awk '$4 == \"0A\" {{print $2}}' /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ':{member.port_free:04X}$' && "
            f'fail "port {member.port_free} is taken: end what listens there, or set master_port in the cluster file"'
        )
    strangers = ""
    if member.accelerator != "cpu":
        strangers = f"""{_gpu_pids(member.accelerator)}
strangers=$(tenants | while read -r pid what; do tr '\\0' '\\n' <"/proc/$pid/environ" 2>/dev/null | grep -qE '^({MARKER}|{SERVING})=' || {{ who=$(ps -o user= -p "$pid"); echo "pid $pid of ${{who:-another container}}: $what"; }}; done)
[ -z "$strangers" ] || fail "somebody else is on its GPUs ($(echo "$strangers" | paste -sd\\;)): not ours, so not touched; wait for it, or end it"
"""
    exclusive = "busy() { return 1; }" if not gang.exclusive else _BUSY
    owner = " ".join(f"{k}={shlex.quote(v)}" for k, v in gang.owner.items())
    claim = f"{gang.attempt} {gang.fencing_token} {gang.generation} {gang.spec_hash}"
    return f"""\
set -u
{exclusive}
folder={path(gang.folder)}
fail() {{ echo "refused=$1"; rm -rf -- "$folder"; exit 0; }}
mkdir -p -- {path(gang.root)} || {{ echo "refused=can't make {gang.root} (disk full, or no permission?)"; exit 0; }}
# One claim at a time on this host.
exec 8>{path(gang.root)}/.lock; flock -w {int(gang.limits.prepare)} 8 || {{ echo "refused=another claim on this host takes too long"; exit 0; }}
if who=$(busy {shlex.quote(gang.name)}); then echo "busy=$who"; exit 0; fi
if [ -d "$folder" ]; then
  owned=; read -r owned _ <"$folder/claim"
  if [ "$owned" != {shlex.quote(replace or "")} ]; then echo "claimed=${{owned:-?}}"; exit 0; fi
  n=1; while [ -e "$folder.$n" ]; do n=$((n + 1)); done; mv -- "$folder" "$folder.$n"
fi
mkdir -- "$folder" || {{ echo "refused=can't make $folder (disk full, or no permission?)"; exit 0; }}
echo {shlex.quote(claim)} >"$folder/claim" && echo {shlex.quote(owner)} >"$folder/owner" || fail "can't write to $folder (disk full?)"
{port}
{strangers}
mkdir -p -- {path(member.cwd)} && cd {path(member.cwd)} || fail "can't enter {shlex.quote(member.cwd)}"
{files}
mkfifo "$folder/go" && : >"$folder/output" && printf %s {shlex.quote(job_script(gang, member))} >"$folder/job.sh" || fail "can't write to $folder (disk full?)"
{MARKER}={shlex.quote(gang.marker)} {EXCLUSIVE}={int(gang.exclusive)} setsid nohup bash "$folder/job.sh" >"$folder/wrapper.log" 2>&1 </dev/null 8>&- &
for _ in $(seq {int(gang.limits.prepare * 50)}); do [ -s "$folder/pid" ] && break; sleep 0.02; done
[ -s "$folder/pid" ] || fail "the waiting process did not start: $(tail -n 3 "$folder/wrapper.log")"
exec 8>&-
echo prepared
while read -r -t {int(gang.limits.prepare) + 30} word; do
  case $word in
    time) echo "clock=${{EPOCHREALTIME/,/.}}" ;;
    start) echo start 1<>"$folder/go"; echo started; exit 0 ;;
    *) break ;;
  esac
done
# Opened for both ways: this does not wait for a reader that has died.
echo no 1<>"$folder/go"
"""


def wait_until_free_command(gang: Gang) -> str:
    """Wait until no other exclusive gang runs on this host, then print `free`. Ends with its input."""
    return f"""\
{_BUSY}
last=
while who=$(busy {shlex.quote(gang.name)}); do
  [ "$who" = "$last" ] || echo "busy=$who"; last=$who
  read -r -t 2 _; [ $? -gt 128 ] || exit 0
done
echo free
"""


# No process is started for a look: this runs several times a second for as long as the gang does.
_STATE = r"""
state() {
  [ -d "$folder" ] || { said="state=absent"; return; }
  local pid='' born='' at='' stat='' alive=no boot=same attempt='' fence='' generation='' spec='' started='' code='' ended='' ranks=0 r
  [ -r "$folder/claim" ] && read -r attempt fence generation spec <"$folder/claim"
  if [ -r "$folder/pid" ]; then
    read -r pid born at <"$folder/pid"
    read -r r </proc/sys/kernel/random/boot_id; [ "$at" = "$r" ] || boot=other
    # A zombie keeps its place in /proc until somebody asks for its exit code.
    if { read -r stat <"/proc/$pid/stat"; } 2>/dev/null; then
      stat=(${stat##*) })
      [ "${stat[0]}" != Z ] && [ "${stat[19]}" = "$born" ] && alive=yes
    fi
  fi
  [ -r "$folder/started" ] && read -r started <"$folder/started"
  for r in "$folder"/ranks/*/*/*/stdout.log; do [ -e "$r" ] && ranks=$((ranks + 1)); done
  # The exit code before the size: when it is there, the size is final.
  if [ -r "$folder/exit" ]; then
    read -r code ended <"$folder/exit"
    [ -n "$size" ] || size=$(stat -c %s "$folder/output" 2>/dev/null || echo 0)
  fi
  said="state=present attempt=$attempt fencing_token=$fence generation=$generation spec_hash=$spec alive=$alive boot=$boot started=$started ranks=$ranks exit=$code ended=$ended size=$size"
}
"""


def query_state_command(gang: Gang) -> str:
    """One line of state."""
    return f'folder={path(gang.folder)}; size=\n{_STATE}\nstate; echo "$said now=${{EPOCHREALTIME/,/.}}"\n'


def follow_command(gang: Gang, member: Member, heartbeat: int = 5, sample: int = 15) -> str:
    """Stay on the line: output that was not delivered yet on stdout, as it comes; lines about the job on stderr.

    `state=…` whenever something changed and every `heartbeat` seconds, `from=N` (the byte stdout begins at), `gpu=…` every `sample`
    seconds (its lines joined by a bar), `clock=…` as an answer to `time`. It reads `acknowledge N` (output up to this byte has been delivered: who takes over goes on
    there; answered with `acknowledged=N`) and ends when its input does, or when it has heard nothing for two minutes: a cut link leaves nothing behind.
    """
    smi = _samples(member.accelerator)
    sampling = ""
    if smi:
        sampling = f'if ((sampled <= SECONDS)); then sampled=$((SECONDS + {sample})); {{ {smi} 2>/dev/null | paste -sd"|" | sed "s/^/gpu=/" >&2; }} & fi'
    return f"""\
folder={path(gang.folder)}; size=; last=; words=; beat=0; sampled=0
{_STATE}
state
case $said in state=absent) echo "$said" >&2; exit 0 ;; esac
taken=0; [ -r "$folder/taken" ] && read -r taken <"$folder/taken"; taken=$((10#$taken))
echo "from=$taken" >&2
tail -q -c +$((taken + 1)) -f -- "$folder/output" 2>/dev/null &
tail=$!
trap 'kill $tail 2>/dev/null' EXIT
exec 1>&-
heard=$SECONDS
# Without its tail the line would be silent for ever: it ends, and is opened again.
while kill -0 $tail 2>/dev/null; do
  state
  if [ "$said" != "$last" ] || ((beat <= SECONDS)); then echo "$said now=${{EPOCHREALTIME/,/.}}" >&2; last=$said; beat=$((SECONDS + {heartbeat})); fi
  {sampling}
  # The time may be over in the middle of a word: what was read of it is kept.
  read -r -t 0.2 part; code=$?; words+=$part
  if ((code > 128)); then ((SECONDS - heard < 120)) || exit 0; continue; fi
  ((code == 0)) || exit 0
  read -r word value <<<"$words"; words=; heard=$SECONDS
  case $word in
    time) echo "clock=${{EPOCHREALTIME/,/.}}" >&2 ;;
    # One write of fixed length into the old file: it is never seen empty, and no process is started for it.
    acknowledge) [ -d "$folder" ] && printf '%020d\\n' "$value" 1<>"$folder/taken" && echo "acknowledged=$value" >&2 ;;
  esac
done
"""


def tail_command(gang: Gang, rank: int | None = None, lines: int = 30) -> str:
    """The last lines of a member's output; of one rank's own, where a rank is named."""
    output = f"{path(gang.folder)}/output"
    if rank is None:
        return f"tail -n {int(lines)} {output} 2>/dev/null || true\n"
    mark = f"[rank {int(rank)}]:"
    return f"tail -c 4194304 {output} 2>/dev/null | grep -aF {shlex.quote(mark)} | tail -n {int(lines)} | sed {shlex.quote('s/^' + re.escape(mark) + '//')} || true\n"


def free_space_command(gang: Gang, member: Member) -> str:
    """Free MiB, a line for each folder that a job writes to: the number, then the folder."""
    return f'for at in {path(member.cwd)} {path(gang.root)}; do df -Pm -- "$at" | awk \'NR == 2 {{print "space=" $4}}\' | sed "s|$| $at|"; done\n'


def mark_refused_command(gang: Gang) -> str:
    """Say that a gang which ended with 0 did not do its work: the next try does not take it for done."""
    folder = path(gang.folder)
    return f'[ ! -e {folder}/exit ] || echo "refused ${{EPOCHREALTIME/,/.}}" >{folder}/exit\n'


def stop_command(gang: Gang, attempt: str | None, accelerator: str = "cpu") -> str:
    """End every process of a try (of the try that is found there when `attempt` is None), and look again until none is left.

    SIGTERM goes to the wrapper, which hands it to torchrun, which ends its workers in an orderly way; after the grace period
    everything that carries the marker gets SIGKILL. Prints `stopped=N` with N processes left (those that still hold a GPU among
    them), or `fenced=…` when a newer try owns the folder: that one is not touched.
    """
    wanted = shlex.quote(attempt) if attempt is not None else '"$owner"'
    return f"""\
set -u
{_FIND}{_gpu_pids(accelerator)}
folder={path(gang.folder)}
owner=; fence=0; [ -r "$folder/claim" ] && read -r owner fence _ <"$folder/claim"
wanted={wanted}
[ -n "$wanted" ] || {{ echo "stopped=0"; exit 0; }}
if [ "$owner" = "$wanted" ] && [ "${{fence:-0}}" -gt {gang.fencing_token} ]; then echo "fenced=$owner"; exit 0; fi
mark="{MARKER}={gang.name}@$wanted"
mine=no; [ "$owner" = "$wanted" ] && mine=yes
# Not yet told to go: told not to, without waiting for anyone to read it.
[ $mine = yes ] && [ -p "$folder/go" ] && [ ! -e "$folder/started" ] && echo no 1<>"$folder/go"
# Once, and by the wrapper's own hand: a second SIGTERM would cut torchrun's own ending short.
first=$(marked "$mark")
if [ -n "$first" ]; then
  pid=; born=; [ $mine = yes ] && [ -r "$folder/pid" ] && read -r pid born _ <"$folder/pid"
  if [ -n "$pid" ] && [ "$(cut -d' ' -f22 /proc/$pid/stat 2>/dev/null)" = "$born" ]; then kill -TERM "$pid" 2>/dev/null; else kill -TERM $first 2>/dev/null; fi
fi
for _ in $(seq {int(gang.limits.grace * 10)}); do [ -z "$(marked "$mark")" ] && break; sleep 0.1; done
for _ in 1 2 3 4 5 6 7 8 9 10; do
  left=$(marked "$mark"); [ -z "$left" ] && break
  kill -KILL $left 2>/dev/null; sleep 0.2
done
left=$(marked "$mark")
# A driver gives a killed process's memory back a moment later; until then the GPUs are not free.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  held=; for pid in $first; do tenants | grep -q "^$pid " && held="$held $pid"; done
  [ -z "$held" ] && break; sleep 1
done
[ $mine = yes ] && [ ! -e "$folder/exit" ] && echo "stopped ${{EPOCHREALTIME/,/.}}" >"$folder/exit"
echo "stopped=$(echo $left $held | wc -w)"
"""


def list_gangs_command(root: str) -> str:
    """Every gang with a living process on this host: `name attempt`, then its owner's line."""
    return f"""\
for who in $(cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | sed -n 's/^{MARKER}=//p' | sort -u); do
  name=${{who%@*}}; at=""; [ -r {path(root)}/"$name/owner" ] && read -r at <{path(root)}/"$name/owner"
  echo "running=$name ${{who##*@}} $at"
done
"""
