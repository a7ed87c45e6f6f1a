# shellcheck shell=bash
# Print the state of a gang on this host.
# Input: folder.
source lib/state.sh

read_state
# ${EPOCHREALTIME/,/.}: some locales print a decimal comma.
echo "state=$state_line now=${EPOCHREALTIME/,/.}"
