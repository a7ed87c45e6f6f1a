# shellcheck shell=bash
# End every process of an attempt, and check until none is left. SIGTERM goes to the wrapper, which hands it
# to torchrun, which ends its workers in order. After the grace period every process that carries the marker
# gets SIGKILL: torch workers are in sessions of their own, and survive a killed parent.
# Inputs: folder, name, attempt (empty: the attempt that owns the folder), fencing_token, grace_tenths (of a
# second), accelerator.
source lib/processes.sh
source lib/gpus.sh
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
