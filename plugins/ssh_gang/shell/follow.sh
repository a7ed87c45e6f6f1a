# shellcheck shell=bash
# Follow a gang on this host: on stdout its output from the byte that was acknowledged last, as it comes; on
# stderr lines of the protocol. Ends with its input, or after two minutes without a request, so that a broken
# connection leaves no process behind.
# Inputs: folder, accelerator, heartbeat_seconds, sample_seconds.
source lib/state.sh
source lib/gpus.sh
: "${heartbeat_seconds:?}" "${sample_seconds:?}"
silence_limit=120

read_state
case $state_line in
  absent)
    echo "state=absent" >&2
    exit 0
    ;;
esac

offset=0
[ -r "$folder/acknowledged" ] && read -r offset <"$folder/acknowledged"
offset=$((10#$offset))
echo "from=$offset" >&2
tail -q -c +$((offset + 1)) -f -- "$folder/output" 2>/dev/null &
tail=$!
trap 'kill $tail 2>/dev/null' EXIT
# tail alone holds stdout now: the watcher sees the end of the stream when tail ends.
exec 1>&-

last_line='' request='' next_heartbeat=0 next_sample=0 last_heard=$SECONDS
# Without tail the stream would stay silent for ever: end with it, and the watcher opens another.
while kill -0 $tail 2>/dev/null; do
  read_state
  if [ "$state_line" != "$last_line" ] || ((next_heartbeat <= SECONDS)); then
    echo "state=$state_line now=${EPOCHREALTIME/,/.}" >&2
    last_line=$state_line
    next_heartbeat=$((SECONDS + heartbeat_seconds))
  fi
  if [ "$accelerator" != cpu ] && ((next_sample <= SECONDS)); then
    next_sample=$((SECONDS + sample_seconds))
    # In the background: the tool may take seconds. Joined, so that the sample is one line.
    gpu_samples | paste -sd'|' | sed 's/^/gpu=/' >&2 &
  fi
  # The time may be over in the middle of a line: what was read of it is kept for the next round.
  read -r -t 0.2 part
  code=$?
  request+=$part
  if ((code > 128)); then
    ((SECONDS - last_heard < silence_limit)) || exit 0
    continue
  fi
  ((code == 0)) || exit 0
  last_heard=$SECONDS
  case $request in
    time) echo "clock=${EPOCHREALTIME/,/.}" >&2 ;;
    acknowledge\ *)
      # One write of fixed length into the old file: no reader sees it empty, and it needs no process.
      [ -d "$folder" ] && printf '%020d\n' "${request#* }" 1<>"$folder/acknowledged" &&
        echo "acknowledged=${request#* }" >&2
      ;;
  esac
  request=
done
