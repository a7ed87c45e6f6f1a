# shellcheck shell=bash
# Print the last lines of a member's output, or of one rank's.
# Inputs: folder, rank (empty for the whole output), lines.
: "${folder:?}" "${rank?}" "${lines:?}"

# 4 MiB are enough for the last lines, and little to read: a line may be without end.
end_of_output() { tail -c 4194304 "$folder/output" 2>/dev/null; }

if [ -z "$rank" ]; then
  end_of_output | tail -n "$lines"
else
  end_of_output | grep -aF -e "[rank $rank]:" | tail -n "$lines" | sed "s/^\\[rank $rank\\]://"
fi
# A missing output or folder is not an error.
exit 0
