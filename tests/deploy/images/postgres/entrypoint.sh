#!/usr/bin/env bash
# Make the cluster at the first start, then serve: POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD or …_FILE.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -g postgres -m 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups bash "$0"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --encoding=UTF8 --locale=C.UTF-8 --username="$POSTGRES_USER" --auth=scram-sha-256 \
    --pwfile=<(cat "${POSTGRES_PASSWORD_FILE:-/dev/stdin}" <<<"${POSTGRES_PASSWORD:-}") >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  sed -i 's/^local *all *all .*/local all all trust/' "$PGDATA/pg_hba.conf"
  pg_ctl -w -o "-c listen_addresses=''" start >/dev/null
  createdb --username="$POSTGRES_USER" "$POSTGRES_DB" || true
  pg_ctl -w stop >/dev/null
fi
exec postgres -c listen_addresses='*'
