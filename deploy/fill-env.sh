#!/usr/bin/env bash
# Make .env: generate what is empty in it, and keep what is there.  bash deploy/fill-env.sh
# Run it again after an upgrade: it adds the names that are new in .env.example.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077
touch .env

# URL-safe base64 of random bytes, as a Fernet key must be.
generate() {
  head -c "$1" /dev/urandom | base64 -w0 | tr '+/' '-_'
}

added=() generated=() comment=()
while IFS= read -r line; do
  if [[ $line == '#'* ]]; then
    comment+=("$line")
    continue
  fi
  if [[ $line =~ ^([A-Za-z_]+)= ]]; then
    name=${BASH_REMATCH[1]}
    if ! grep -q "^$name=" .env; then
      printf '%s\n' "${comment[@]}" "$line" >>.env
      added+=("$name")
    fi
    # The webhook is off without its secret.
    if [[ $name =~ (_PASSWORD|_SECRET|_KEY)$ && $name != SQLTUNE_WEBHOOK_SECRET ]] && grep -q "^$name=$" .env; then
      size=48
      [ "$name" = FERNET_KEY ] && size=32
      sed -i "s|^$name=$|$name=$(generate $size)|" .env
      generated+=("$name")
    fi
  fi
  comment=()
done <.env.example
echo ".env: ${#added[@]} names added, ${#generated[@]} secrets generated${generated[*]:+ (${generated[*]})}"
