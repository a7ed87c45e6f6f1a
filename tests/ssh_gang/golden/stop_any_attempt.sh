folder=~/work/gangs/dag.train.run
name=dag.train.run
attempt=''
fencing_token=1732406400000
grace_tenths=200
accelerator=cpu
# End every process of an attempt, and check until none is left. SIGTERM goes to the wrapper, which hands it
# to torchrun, which ends its workers in order. After the grace period every process that carries the marker
# gets SIGKILL: torch workers are in sessions of their own, and survive a killed parent.
# Inputs: folder, name, attempt (empty: the attempt that owns the folder), fencing_token, grace_tenths (of a
# second), accelerator.
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
: "${folder:?}" "${name:?}" "${attempt?}" "${fencing_token:?}" "${grace_tenths:?}"
set -u

owner='' owner_token=0
[ -r "$folder/claim" ] && read -r owner owner_token _ <"$folder/claim"
attempt=${attempt:-$owner}
if [ -z "$attempt" ]; then
  echo "stopped=0"
  exit 0
fi
if [ "$owner" = "$attempt" ] && [ "${owner_token:-0}" -gt "$fencing_token" ]; then
  echo "fenced=$owner"
  exit 0
fi
assignment="SSH_GANG_MARKER=$name@$attempt"
owns_folder=no
[ "$owner" = "$attempt" ] && owns_folder=yes

# Not started yet: cancelled. Opened for reading and writing, so that this waits for no reader.
if [ $owns_folder = yes ] && [ -p "$folder/start_signal" ] && [ ! -e "$folder/started" ]; then
  echo cancel 1<>"$folder/start_signal"
fi

# SIGTERM once, and through the wrapper: a second one would cut torchrun's orderly end short.
marked=$(pids_with "$assignment")
if [ -n "$marked" ]; then
  pid='' process_start=''
  [ $owns_folder = yes ] && [ -r "$folder/pid" ] && read -r pid process_start _ <"$folder/pid"
  if [ -n "$pid" ] && [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$process_start" ]; then
    kill -TERM "$pid" 2>/dev/null
  else
    # shellcheck disable=SC2086  # a list of pids
    kill -TERM $marked 2>/dev/null
  fi
fi
for ((i = 0; i < grace_tenths; i++)); do
  [ -z "$(pids_with "$assignment")" ] && break
  sleep 0.1
done

for _ in 1 2 3 4 5 6 7 8 9 10; do
  left=$(pids_with "$assignment")
  [ -z "$left" ] && break
  # shellcheck disable=SC2086  # a list of pids
  kill -KILL $left 2>/dev/null
  sleep 0.2
done
left=$(pids_with "$assignment")

# The driver gives a killed process's memory back a moment later; until then its GPU is not free.
holding=
for _ in 1 2 3 4 5 6 7 8 9 10; do
  holding=
  for pid in $marked; do gpu_processes | grep -q "^$pid " && holding="$holding $pid"; done
  [ -z "$holding" ] && break
  sleep 1
done

if [ $owns_folder = yes ] && [ ! -e "$folder/exit" ]; then
  echo "stopped ${EPOCHREALTIME/,/.}" >"$folder/exit"
fi
# shellcheck disable=SC2086  # a list of pids
echo "stopped=$(echo $left $holding | wc -w)"
