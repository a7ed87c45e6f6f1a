# shellcheck shell=bash
# Print every gang that has a live process on this host, with its owner where its folder is under root.
# Input: root.
: "${root:?}"

for marker in $(cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' |
  sed -n 's/^SSH_GANG_MARKER=//p' | sort -u); do
  name=${marker%@*} owner=
  [ -r "$root/$name/owner" ] && read -r owner <"$root/$name/owner"
  echo "running=$name ${marker##*@} $owner"
done
