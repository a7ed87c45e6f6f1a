#!/usr/bin/env bash
# host-a: dag.train.run@try2-0a1b
folder=~/work/gangs/dag.train.run
work_dir=~/work/run-1
wait_seconds=90
ranks=4
run_command() {
  export PATH=~/env/bin:$PATH
  export HF_HOME=~/cache
  export NO_PROXY=localhost,10.0.0.0/8
  exec -- torchrun --nnodes=2 train.py 'it'"'"'s $HOME' ~/models/base
}
# Run one member: wait for the start signal, run the command, record its exit status.
# Inputs: folder, work_dir, wait_seconds, ranks; run_command, a function that sets the command's environment
# and becomes the command.
: "${folder:?}" "${work_dir:?}" "${wait_seconds:?}" "${ranks:?}"
set -u

# Renamed into place: no reader sees a file that is written in part.
record_exit() {
  echo "$1 ${EPOCHREALTIME/,/.}" >"$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"
}

if ((ranks > 0)); then
  # torchrun's own options as variables: the command stays the one that a person would type.
  export PET_LOG_DIR="$folder/ranks" PET_REDIRECTS=3 PET_TEE=3
  # shellcheck disable=SC2016  # torchrun expands it
  export TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE='[rank ${rank}]:'
  mkdir -p -- "$folder/reports"
  export SSH_GANG_REPORTS="$folder/reports"
fi
cd "$work_dir" || exit 1

# Opened for reading and writing: the open waits for no writer.
exec 3<>"$folder/start_signal"
# The process's start time and the boot tell this pid from a reused one.
echo "$$ $(cut -d' ' -f22 /proc/$$/stat) $(cat /proc/sys/kernel/random/boot_id)" >"$folder/pid.new" &&
  mv "$folder/pid.new" "$folder/pid"
# With a time limit: the process that prepared this may be gone.
if ! read -r -t "$wait_seconds" -u 3 signal || [ "$signal" != start ]; then
  record_exit not_started
  exit 0
fi
exec 3>&-

echo "${EPOCHREALTIME/,/.}" >"$folder/started"
# In a process of its own: the command's environment cannot change this script.
run_command >>"$folder/output" 2>&1 </dev/null &
child=$!
# torchrun ends its workers in order when it gets SIGTERM.
trap 'kill -TERM $child 2>/dev/null' TERM INT HUP
wait $child
code=$?
# A signal ends the wait early: wait again until the child is gone.
while kill -0 $child 2>/dev/null; do
  wait $child
  code=$?
done
record_exit "$code"
