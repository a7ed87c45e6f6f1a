root=~/work/gangs
folder=~/work/gangs/dag.train.run
name=dag.train.run
marker=dag.train.run@try2-0a1b
exclusive=1
claim='try2-0a1b 1732406400000 1 0123abcd'
owner='dag_id=dag task_id=train run_id='"'"'manual run'"'"''
replace=try1-ffff
prepare_seconds=30
port=12345
accelerator=cuda
tolerated_gpu_marker=MODEL_SERVER
work_dir=~/work/run-1
file_names=(config/train.py run.json)
file_texts=('max_steps = 20
' '{"a": "b"}')
job='#!/usr/bin/env bash
# host-a: dag.train.run@try2-0a1b
folder=~/work/gangs/dag.train.run
work_dir=~/work/run-1
wait_seconds=90
ranks=4
run_command() {
  export PATH=~/env/bin:$PATH
  export HF_HOME=~/cache
  export NO_PROXY=localhost,10.0.0.0/8
  exec -- torchrun --nnodes=2 train.py '"'"'it'"'"'"'"'"'"'"'"'s $HOME'"'"' ~/models/base
}
# Run one member: wait for the start signal, run the command, record its exit status.
# Inputs: folder, work_dir, wait_seconds, ranks; run_command, a function that sets the command'"'"'s environment
# and becomes the command.
: "${folder:?}" "${work_dir:?}" "${wait_seconds:?}" "${ranks:?}"
set -u

# Renamed into place: no reader sees a file that is written in part.
record_exit() {
  echo "$1 ${EPOCHREALTIME/,/.}" >"$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"
}

if ((ranks > 0)); then
  # torchrun'"'"'s own options as variables: the command stays the one that a person would type.
  export PET_LOG_DIR="$folder/ranks" PET_REDIRECTS=3 PET_TEE=3
  # shellcheck disable=SC2016  # torchrun expands it
  export TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE='"'"'[rank ${rank}]:'"'"'
  mkdir -p -- "$folder/reports"
  export SSH_GANG_REPORTS="$folder/reports"
fi
cd "$work_dir" || exit 1

# Opened for reading and writing: the open waits for no writer.
exec 3<>"$folder/start_signal"
# The process'"'"'s start time and the boot tell this pid from a reused one.
echo "$$ $(cut -d'"'"' '"'"' -f22 /proc/$$/stat) $(cat /proc/sys/kernel/random/boot_id)" >"$folder/pid.new" &&
  mv "$folder/pid.new" "$folder/pid"
# With a time limit: the process that prepared this may be gone.
if ! read -r -t "$wait_seconds" -u 3 signal || [ "$signal" != start ]; then
  record_exit not_started
  exit 0
fi
exec 3>&-

echo "${EPOCHREALTIME/,/.}" >"$folder/started"
# In a process of its own: the command'"'"'s environment cannot change this script.
run_command >>"$folder/output" 2>&1 </dev/null &
child=$!
# torchrun ends its workers in order when it gets SIGTERM.
trap '"'"'kill -TERM $child 2>/dev/null'"'"' TERM INT HUP
wait $child
code=$?
# A signal ends the wait early: wait again until the child is gone.
while kill -0 $child 2>/dev/null; do
  wait $child
  code=$?
done
record_exit "$code"
'
# Prepare a member: claim the gang's folder, check the host, write the files, start a process that waits for
# the start signal. Then read requests: `time`; `start`; anything else, or the end of the input, cancels.
# Inputs: root, folder, name, marker, exclusive (0 or 1), claim, owner, replace (the attempt whose folder
# may be put aside, or empty), prepare_seconds, port (empty for none), accelerator, tolerated_gpu_marker (a
# variable's name, or empty), work_dir, job (text of job.sh), file_names and file_texts (arrays).
# Find the processes of gangs on this host.

# Prints the pids of the processes whose environment holds the assignment $1. The environment names a
# process for certain: torch workers are in sessions of their own, and a pid may be reused. A zombie's
# environment is empty.
pids_with() { grep -lzxF -e "$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3; }

# Prints the marker of an exclusive gang that runs here and is not the gang named $1; fails if none
# does. Live processes are the evidence: unlike a lock file they cannot be stale.
other_exclusive_gang() {
  local pid marker
  for pid in $(pids_with 'SSH_GANG_EXCLUSIVE=1'); do
    marker=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^SSH_GANG_MARKER=//p')
    case $marker in "$1@"* | '') ;; *) echo "$marker"; return 0 ;; esac
  done
  return 1
}
# Query the GPUs of this host.
# Input: accelerator (cuda, rocm or cpu). Each tool has 20 s: a hung driver must not hang the caller.
: "${accelerator:?}"

# Prints a line for each process that holds a GPU, its pid first.
gpu_processes() {
  case $accelerator in
    cuda)
      timeout 20 nvidia-smi --query-compute-apps=pid,process_name,used_memory --format=csv,noheader \
        2>/dev/null |
        awk '$1 ~ /^[0-9]+,?$/ {sub(",", " "); print}'
      ;;
    rocm)
      # rocm-smi also lists processes that once opened /dev/kfd and hold nothing (0 bytes).
      timeout 20 rocm-smi --showpids 2>/dev/null |
        awk '$1 ~ /^[0-9]+$/ && $(NF-2) != 0 {sub(",", " "); print}'
      ;;
  esac
}

# Prints the use, the memory and the temperature of each GPU, as the tool formats them.
gpu_samples() {
  case $accelerator in
    cuda)
      timeout 20 nvidia-smi --format=csv \
        --query-gpu=index,utilization.gpu,memory.used,memory.total,temperature.gpu 2>/dev/null
      ;;
    rocm)
      timeout 20 rocm-smi --showuse --showmeminfo vram --showtemp --json 2>/dev/null
      ;;
  esac
}
: "${root:?}" "${folder:?}" "${name:?}" "${marker:?}" "${exclusive:?}" "${claim:?}" "${owner?}" "${replace?}"
: "${prepare_seconds:?}" "${port?}" "${tolerated_gpu_marker?}" "${work_dir:?}" "${job:?}"
set -u

refuse() {
  echo "refused=$1"
  exit 0
}

# Refuse, and give the claim back.
give_up() {
  rm -rf -- "$folder"
  refuse "$1"
}

# Prints the processes on this host's GPUs that belong to no gang and are not marked as tolerated.
foreign_gpu_processes() {
  local pid details user
  gpu_processes | while read -r pid details; do
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" |
      grep -qE "^(SSH_GANG_MARKER${tolerated_gpu_marker:+|$tolerated_gpu_marker})=" && continue
    user=$(ps -o user= -p "$pid")
    # The driver names processes of other containers by a pid that does not exist here.
    echo "pid $pid of ${user:-another container}: $details"
  done
}

claim_folder() {
  local owning_attempt='' n=1
  if [ -d "$folder" ]; then
    read -r owning_attempt _ <"$folder/claim"
    if [ "$owning_attempt" != "$replace" ]; then
      echo "claimed=${owning_attempt:-?}"
      exit 0
    fi
    # What ended is put aside with its log.
    while [ -e "$folder.$n" ]; do n=$((n + 1)); done
    mv -- "$folder" "$folder.$n"
  fi
  # For this user alone: job.sh holds the command's environment, with its tokens.
  mkdir -m 700 -- "$folder" || refuse "can't make $folder (disk full, or no permission?)"
  if ! { echo "$claim" >"$folder/claim" && echo "$owner" >"$folder/owner"; }; then
    give_up "can't write to $folder (disk full?)"
  fi
}

check_port() {
  local hexadecimal
  printf -v hexadecimal %04X "$port"
  # Read from the kernel's table, so that the check itself opens no port. 0A is LISTEN.
  if awk '$4 == "0A" {print $2}' /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ":$hexadecimal\$"; then
    give_up "port $port is taken: end the process that listens there, or choose another port"
  fi
}

check_gpus() {
  local foreign
  foreign=$(foreign_gpu_processes | paste -sd';')
  [ -z "$foreign" ] ||
    give_up "foreign processes are on its GPUs ($foreign): they are not touched;\
 wait until they end, or end them"
}

# shellcheck disable=SC2154  # file_names and file_texts may be empty, so they have no check above
write_files() {
  local i file
  if ! { mkdir -p -- "$work_dir" && cd -- "$work_dir"; }; then give_up "can't enter $work_dir"; fi
  for i in "${!file_names[@]}"; do
    file=${file_names[i]}
    if ! { mkdir -p -- "$(dirname -- "$file")" && printf %s "${file_texts[i]}" >"$file"; }; then
      give_up "can't write $file (disk full?)"
    fi
  done
  if ! { mkfifo "$folder/start_signal" && : >"$folder/output" &&
    printf %s "$job" >"$folder/job.sh"; }; then
    give_up "can't write to $folder (disk full?)"
  fi
}

# The waiting process outlives this session. It must not hold the lock (8).
start_waiting_process() {
  local deadline=$((SECONDS + prepare_seconds))
  SSH_GANG_MARKER=$marker SSH_GANG_EXCLUSIVE=$exclusive \
    setsid nohup bash "$folder/job.sh" >"$folder/wrapper.log" 2>&1 </dev/null 8>&- &
  until [ -s "$folder/pid" ] || ((SECONDS > deadline)); do sleep 0.02; done
  [ -s "$folder/pid" ] ||
    give_up "the waiting process did not start: $(tail -n 3 "$folder/wrapper.log" | paste -sd' ')"
}

mkdir -p -- "$root" || refuse "can't make $root (disk full, or no permission?)"
# One claim at a time on this host: the lock is held until the waiting process carries its marker.
exec 8>"$root/.lock"
flock -w "$prepare_seconds" 8 || refuse "another claim on this host takes too long"
if [ "$exclusive" = 1 ] && other=$(other_exclusive_gang "$name"); then
  echo "busy=$other"
  exit 0
fi
claim_folder
[ -z "$port" ] || check_port
check_gpus
write_files
start_waiting_process
exec 8>&-
echo prepared

while read -r -t $((prepare_seconds + 30)) request; do
  case $request in
    time) echo "clock=${EPOCHREALTIME/,/.}" ;;
    start)
      echo start 1<>"$folder/start_signal"
      echo started
      exit 0
      ;;
    *) break ;;
  esac
done
# Opened for reading and writing: this does not wait for a reader that has died.
echo cancel 1<>"$folder/start_signal"
