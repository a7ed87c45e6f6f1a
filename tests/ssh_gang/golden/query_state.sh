folder=~/work/gangs/dag.train.run
# Print the state of a gang on this host.
# Input: folder.
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

read_state
# ${EPOCHREALTIME/,/.}: some locales print a decimal comma.
echo "state=$state_line now=${EPOCHREALTIME/,/.}"
