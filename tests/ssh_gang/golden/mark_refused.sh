folder=~/work/gangs/dag.train.run
# Record that a gang which ended with exit code 0 did not do its work, so that the next attempt runs it again.
# Input: folder.
: "${folder:?}"

[ ! -e "$folder/exit" ] || echo "refused ${EPOCHREALTIME/,/.}" >"$folder/exit"
