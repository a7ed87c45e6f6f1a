folder=~/work/gangs/dag.train.run
rank=3
lines=400
# Print the last lines of a member's output, or of one rank's.
# Inputs: folder, rank (empty for the whole output), lines.
: "${folder:?}" "${rank?}" "${lines:?}"

if [ -z "$rank" ]; then
  tail -n "$lines" "$folder/output" 2>/dev/null
else
  # 4 MiB are enough for the end of one rank's output, and little to read.
  tail -c 4194304 "$folder/output" 2>/dev/null |
    grep -aF -e "[rank $rank]:" | tail -n "$lines" | sed "s/^\\[rank $rank\\]://"
fi
# A missing output or folder is not an error.
exit 0
