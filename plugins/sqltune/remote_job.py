"""Shell text of a detached job on a host: pure functions, sent to `bash -s` by whoever holds the connection.

On each host a gang has one folder:

    attempt         which try claimed it            started / exit   when the program started; its exit code and when
    job.sh          what runs                       output           what it printed, stdout and stderr
    pid             process group, start time, boot taken            bytes of output already delivered to the task's log
    go              a FIFO: the word that starts it judged           the generation in which the operator has seen the end
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal

from sqltune.gangs import Gang, Member

CHUNK = 4 * 1024 * 1024
"""Bytes of output taken in one look."""

MARKER = "SQLTUNE_GANG"
"""Variable that marks every process of a try."""


def path(text: str) -> str:
    """A path as shell text: quoted, with a leading ~ left to the shell of the host."""
    if text == "~":
        return "~"
    return f"~/{shlex.quote(text[2:])}" if text.startswith("~/") else shlex.quote(text)


# By the marker in their environment, since torch workers have sessions of their own. A zombie's environment is empty.
_FIND = r"""
marked() { grep -lzxF -e "$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3; }
"""


def job_script(gang: Gang, member: Member) -> str:
    """What the waiting process runs: wait for the word, run the program, keep its exit code."""
    env = "\n".join(f"export {name}={env_value(value)}" for name, value in member.env.items())
    first = f"export PATH={path(member.path_prefix)}:$PATH" if member.path_prefix else ""
    argv = " ".join(_word(a) for a in member.argv)
    return f"""\
#!/bin/bash
# {member.host}: {gang.marker}
set -u
folder={path(gang.folder)}
{env}
{first}
cd {path(member.cwd)} || exit 1
exec 3<>"$folder/go"
echo "$$ $(cut -d' ' -f22 /proc/$$/stat) $(cat /proc/sys/kernel/random/boot_id)" >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid"
# Nobody says go: this process does not wait for ever.
if ! read -r -t {int(gang.limits.arm) + 60} -u 3 word || [ "$word" != go ]; then
  echo "disarmed $(date +%s.%N)" >"$folder/exit.new"; mv "$folder/exit.new" "$folder/exit"; exit 0
fi
exec 3>&-
date +%s.%N >"$folder/started"
{argv} >>"$folder/output" 2>&1 </dev/null &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM INT HUP
wait $child; code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done
echo "$code $(date +%s.%N)" >"$folder/exit.new"; mv "$folder/exit.new" "$folder/exit"
"""


def env_value(value: str) -> str:
    """A value for export; a leading ~/ and each ~/ after a colon mean the home of the host."""
    return ":".join(path(part) if part.startswith("~/") else shlex.quote(part) for part in value.split(":"))


def _word(argument: str) -> str:
    return path(argument) if argument.startswith("~/") else shlex.quote(argument)


def arm(gang: Gang, member: Member) -> str:
    """Claim the folder, write the files, start the waiting process. Prints `armed`, or `claimed` and leaves everything as it is."""
    files = "\n".join(
        f'mkdir -p -- "$(dirname -- {shlex.quote(name)})"; printf %s {shlex.quote(text)} >{shlex.quote(name)}' for name, text in member.files.items()
    )
    port = ""
    if member.port_free:
        # Read from the kernel's table, so that the look itself opens nothing.
        hexport = f"{member.port_free:04X}"
        port = (
            f"if awk '$4 == \"0A\" {{print $2}}' /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ':{hexport}$'; then\n"
            f'  echo "refused port {member.port_free} is taken on {member.host}: end what listens there, or set master_port in the cluster file"; rm -rf -- "$folder"; exit 0\nfi'
        )
    return f"""\
set -u
folder={path(gang.folder)}
mkdir -p -- {path(gang.root)} || exit 1
if ! mkdir -- "$folder" 2>/dev/null; then
  if [ -d "$folder" ]; then echo claimed; exit 0; fi
  echo "refused can't make $folder: $(mkdir -- "$folder" 2>&1)"; exit 0
fi
echo {shlex.quote(gang.attempt)} >"$folder/attempt"
{port}
fail() {{ echo "refused $1"; rm -rf -- "$folder"; exit 0; }}
mkdir -p -- {path(member.cwd)} && cd {path(member.cwd)} || fail "can't enter {shlex.quote(member.cwd)}"
{files}
mkfifo "$folder/go" && : >"$folder/output" && printf %s {shlex.quote(job_script(gang, member))} >"$folder/job.sh" || fail "can't write to $folder (disk full?)"
{MARKER}={shlex.quote(gang.marker)} setsid nohup bash "$folder/job.sh" >"$folder/wrapper.log" 2>&1 </dev/null &
for _ in $(seq {int(gang.limits.arm * 20)}); do [ -s "$folder/pid" ] && {{ echo armed; exit 0; }}; sleep 0.05; done
fail "the waiting process did not start: $(tail -n 3 "$folder/wrapper.log")"
"""


def go(gang: Gang) -> str:
    """Give the word. The FIFO has a reader since arming, so this returns at once; one whose reader has died is not waited for."""
    return f'timeout 5 bash -c \'echo go >"$1"\' _ {path(gang.folder)}/go && echo gone\n'


def look(gang: Gang, taken: int | None = None) -> str:
    """One line of state, then output that was not delivered yet.

    `taken` says that output up to this byte has been delivered. The host remembers it, so that a watcher that takes over
    (with None) goes on there: what was delivered but not yet confirmed comes again, nothing is left out.
    """
    confirm = "" if taken is None else f'[ ! -d "$folder" ] || echo {int(taken)} >"$folder/taken"'
    return f"""\
folder={path(gang.folder)}
{confirm}
[ -d "$folder" ] || {{ echo "state=absent"; exit 0; }}
alive=no; boot=same
read -r pid born at <"$folder/pid" 2>/dev/null
if [ -n "${{pid:-}}" ]; then
  [ "$at" = "$(cat /proc/sys/kernel/random/boot_id)" ] || boot=other
  # A zombie keeps its place in /proc until somebody asks for its exit code.
  case "$(cut -d' ' -f3,22 "/proc/$pid/stat" 2>/dev/null)" in "Z $born") ;; *" $born") alive=yes ;; esac
fi
taken=$(cat "$folder/taken" 2>/dev/null || echo 0)
# The exit code before the size: when it is there, the size is final.
ended=$(cat "$folder/exit" 2>/dev/null)
size=$(stat -c %s "$folder/output" 2>/dev/null || echo 0)
echo "state=there attempt=$(cat "$folder/attempt" 2>/dev/null) alive=$alive boot=$boot started=$(cat "$folder/started" 2>/dev/null) exit=${{ended%% *}} ended=${{ended#* }} judged=$(cat "$folder/judged" 2>/dev/null) taken=$taken size=$size"
tail -c +$((taken + 1)) -- "$folder/output" 2>/dev/null | head -c {CHUNK}
exit 0
"""


def tail(gang: Gang, lines: int = 30) -> str:
    """The last lines of a member's output."""
    return f"tail -n {int(lines)} {path(gang.folder)}/output 2>/dev/null || true\n"


def judge(gang: Gang) -> str:
    """Mark the gang as judged in this generation: after a Clear it is not picked up again."""
    return f"[ ! -d {path(gang.folder)} ] || echo {gang.generation} >{path(gang.folder)}/judged\n"


def put_aside(gang: Gang) -> str:
    """Move a judged or dead gang's folder out of the way, so that the name can be claimed again; its log is kept."""
    folder = path(gang.folder)
    return f'n=1; while [ -e {folder}.$n ]; do n=$((n + 1)); done; [ ! -d {folder} ] || mv -- {folder} {folder}.$n\n'


def stop(gang: Gang, attempt: str | None) -> str:
    """End every process of a try (of the try that is found there when `attempt` is None), and look again until none is left.

    SIGTERM goes to the wrapper, which hands it to torchrun, which ends its workers in an orderly way; after the grace period
    everything that carries the marker gets SIGKILL. Prints `stopped N` with N processes left, or `fenced` when another try owns the folder.
    """
    wanted = shlex.quote(attempt) if attempt is not None else '"$owner"'
    return f"""\
set -u
{_FIND}
folder={path(gang.folder)}
owner=$(cat "$folder/attempt" 2>/dev/null)
wanted={wanted}
[ -n "$wanted" ] || {{ echo "stopped 0"; exit 0; }}
mark="{MARKER}={gang.name}@$wanted"
if [ "$owner" = "$wanted" ]; then
  # Not yet told to go: told not to, without waiting for anyone to read it.
  [ -p "$folder/go" ] && [ ! -e "$folder/started" ] && timeout 1 bash -c 'echo no >"$1"' _ "$folder/go"
fi
# Once, and by the wrapper's own hand: a second SIGTERM would cut torchrun's own ending short.
first=$(marked "$mark")
if [ -n "$first" ]; then
  read -r pid born _ <"$folder/pid" 2>/dev/null
  if [ "$owner" = "$wanted" ] && [ -n "${{pid:-}}" ] && [ "$(cut -d' ' -f22 /proc/$pid/stat 2>/dev/null)" = "$born" ]; then kill -TERM "$pid" 2>/dev/null; else kill -TERM $first 2>/dev/null; fi
fi
for _ in $(seq {int(gang.limits.grace * 5)}); do [ -z "$(marked "$mark")" ] && break; sleep 0.2; done
for _ in 1 2 3 4 5 6 7 8 9 10; do
  left=$(marked "$mark"); [ -z "$left" ] && break
  kill -KILL $left 2>/dev/null; sleep 0.2
done
left=$(marked "$mark" | wc -l)
if [ "$owner" != "$wanted" ]; then echo "fenced $left"; else
  [ -e "$folder/exit" ] || {{ echo "stopped $(date +%s.%N)" >"$folder/exit"; }}
  echo "stopped $left"
fi
"""


@dataclass(frozen=True)
class JobState:
    """What one host says of its part of a gang."""

    state: Literal["absent", "there", "unreachable"]
    attempt: str = ""
    alive: bool = False
    rebooted: bool = False
    judged: int | None = None
    """The generation that judged it."""
    started: float | None = None
    exit: str = ""
    ended: float | None = None
    taken: int = 0
    size: int = 0

    @property
    def is_running(self) -> bool:
        return self.state == "there" and self.alive and not self.exit

    @property
    def is_terminal(self) -> bool:
        return bool(self.exit)

    @property
    def succeeded(self) -> bool:
        return self.exit == "0"

    @property
    def is_lost(self) -> bool:
        """Claimed, not ended, and nobody there: the host rebooted, or the wrapper was killed."""
        return self.state == "there" and not self.exit and not self.alive

    @property
    def how_it_ended(self) -> str:
        """The end in words."""
        if self.is_lost:
            return "lost: the host was restarted" if self.rebooted else "lost: its wrapper is gone without an exit code"
        if not self.exit.isdigit():
            return self.exit or "running"
        code = int(self.exit)
        return f"killed by signal {code - 128}" if code > 128 else f"exit code {code}"


_FIELD = re.compile(r"(\w+)=(\S*)")


def parse_look(answer: bytes) -> tuple[JobState, bytes]:
    """The state line and the output behind it; ValueError when the answer is cut short."""
    head, newline, output = answer.partition(b"\n")
    if not newline or not head.startswith(b"state="):
        raise ValueError(f"not a state line: {head[:200]!r}")
    f = dict(_FIELD.findall(head.decode()))
    if f["state"] == "absent":
        return JobState("absent"), b""
    number = {k: float(f[k]) if f[k] else None for k in ("started", "ended")}
    state = JobState(
        "there", f["attempt"], f["alive"] == "yes", f["boot"] == "other", int(f["judged"]) if f["judged"] else None,
        number["started"], f["exit"], number["ended"], int(f["taken"]), int(f["size"]),
    )
    return state, output
