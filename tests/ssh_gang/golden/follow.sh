folder=~/work/gangs/dag.train.run
attempt=try2-0a1b
accelerator=cuda
heartbeat_seconds=5
sample_seconds=15
# Follow a gang on this host: on stdout its output from the byte that was acknowledged last, as it comes; on
# stderr lines of the protocol. Ends with its input, or after two minutes without a request, so that a broken
# connection leaves no process behind.
# Inputs: folder, attempt, accelerator, heartbeat_seconds, sample_seconds.
# Read the state of a gang on this host.
# Input: folder.
: "${folder:?}"
state_line=
output_size=

# Sets state_line to the value of a `state=` line, without the field `now`. This runs several times a second
# for as long as the gang does, so it starts no process until the gang has ended.
read_state() {
  local attempt='' fencing_token='' generation='' spec_hash='' started='' ranks=0 exit_status='' ended=''
  local alive=no boot=same pid='' process_start='' pid_boot='' this_boot='' stat='' log
  if [ ! -d "$folder" ]; then
    state_line=absent
    return
  fi
  [ -r "$folder/claim" ] && read -r attempt fencing_token generation spec_hash <"$folder/claim"
  if [ -r "$folder/pid" ]; then
    read -r pid process_start pid_boot <"$folder/pid"
    read -r this_boot </proc/sys/kernel/random/boot_id
    [ "$pid_boot" = "$this_boot" ] || boot=other
    # The start time tells a reused pid apart. A zombie stays in /proc until its parent reads its exit code.
    if { read -r stat <"/proc/$pid/stat"; } 2>/dev/null; then
      # The name of the program stands in parentheses and may hold blanks; the fields behind it do not. No
      # here-string: bash before 5.1 writes it to a file, which fails on a full disk.
      # shellcheck disable=SC2206  # split into fields
      stat=(${stat##*) })
      [ "${stat[0]}" != Z ] && [ "${stat[19]}" = "$process_start" ] && alive=yes
    fi
  fi
  [ -r "$folder/started" ] && read -r started <"$folder/started"
  for log in "$folder"/ranks/*/*/*/stdout.log; do [ -e "$log" ] && ranks=$((ranks + 1)); done
  # The exit status before the size: once it is there, the size is final. After the process: a process that
  # is gone has written its exit status.
  if [ -r "$folder/exit" ]; then
    read -r exit_status ended <"$folder/exit"
    [ -n "$output_size" ] || output_size=$(stat -c %s "$folder/output" 2>/dev/null || echo 0)
  fi
  state_line="present attempt=$attempt fencing_token=$fencing_token generation=$generation"
  state_line+=" spec_hash=$spec_hash alive=$alive boot=$boot started=$started ranks=$ranks"
  state_line+=" exit=$exit_status ended=$ended size=$output_size"
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
