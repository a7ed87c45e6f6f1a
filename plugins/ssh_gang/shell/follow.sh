# shellcheck shell=bash
# Follow a gang on this host: on stdout its output from the byte that was acknowledged last, as it comes; on
# stderr lines of the protocol. Ends with its input, or after two minutes without a request, so that a broken
# connection leaves no process behind.
# Inputs: folder, attempt, accelerator, heartbeat_seconds, sample_seconds.
source lib/state.sh
source lib/gpus.sh
: "${attempt:?}" "${heartbeat_seconds:?}" "${sample_seconds:?}"
silence_limit=120

# Another attempt may have put this one's folder aside, and made one of its own at the same path.
owns_folder() {
  local owner=''
  { read -r owner _ <"$folder/claim"; } 2>/dev/null
  [ "$owner" = "$attempt" ]
}

report_state() {
  echo "state=$state_line now=${EPOCHREALTIME/,/.}" >&2
}

read_state
if ! owns_folder; then
  report_state
  exit 0
fi

offset=
[ -r "$folder/acknowledged" ] && read -r offset <"$folder/acknowledged"
# Empty where the disk was full when it was written.
offset=$((10#${offset:-0}))
echo "from=$offset" >&2
tail -q -c +$((offset + 1)) -f -- "$folder/output" 2>/dev/null &
tail=$!
trap 'kill $tail 2>/dev/null' EXIT
# tail alone holds stdout now: the watcher sees the end of the stream when tail ends.
exec 1>&-

# Sends the newest reports of the ranks, joined to one line. It starts no process: it runs every heartbeat.
send_reports() {
  local file report reports=
  for file in "$folder"/reports/*; do
    # The program names the files: another name could begin a line of the protocol.
    [[ ${file##*/} =~ ^[0-9]+$ ]] || continue
    report=
    { read -r report <"$file"; } 2>/dev/null
    [ -z "$report" ] || reports+="${reports:+|}${file##*/} $report"
  done
  [ -z "$reports" ] || echo "ranks=$reports" >&2
}

last_line='' request='' next_heartbeat=0 next_sample=0 last_heard=$SECONDS
# Without tail the stream would stay silent for ever: end with it, and the watcher opens another.
while kill -0 $tail 2>/dev/null; do
  read_state
  if [ "$state_line" != "$last_line" ] || ((next_heartbeat <= SECONDS)); then
    report_state
    last_line=$state_line
    next_heartbeat=$((SECONDS + heartbeat_seconds))
    send_reports
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
      owns_folder && printf '%020d\n' "${request#* }" 1<>"$folder/acknowledged" &&
        echo "acknowledged=${request#* }" >&2
      ;;
  esac
  request=
done
