# shellcheck shell=bash
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
