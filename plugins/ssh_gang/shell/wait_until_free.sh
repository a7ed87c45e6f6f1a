# shellcheck shell=bash
# Wait until no other exclusive gang runs on this host; ends with its input.
# Input: name.
source lib/processes.sh
: "${name:?}"

last=
while marker=$(other_exclusive_gang "$name"); do
  [ "$marker" = "$last" ] || echo "busy=$marker"
  last=$marker
  # A pause that ends with the input: read fails with more than 128 when only the time is over.
  read -r -t 2 _
  [ $? -gt 128 ] || exit 0
done
echo free
