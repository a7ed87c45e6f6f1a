# shellcheck shell=bash
# Prepare a member: claim the gang's folder, check the host, write the files, start a process that waits for
# the start signal. Then read requests: `time`; `start`; anything else, or the end of the input, cancels.
# Inputs: root, folder, name, marker, exclusive (0 or 1), claim, owner, replace (the attempt whose folder
# may be put aside, or empty), prepare_seconds, port (empty for none), accelerator, tolerated_gpu_marker (a
# variable's name, or empty), work_dir, job (text of job.sh), file_names and file_texts (arrays).
source lib/processes.sh
source lib/gpus.sh
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
