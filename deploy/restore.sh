#!/usr/bin/env bash
# Restore a backup on a machine without a deployment, in a fresh clone:  bash deploy/restore.sh ARCHIVE
# Stop the deployment that it was made of first: two with one name stop each other's trainings on the hosts.
set -euo pipefail
[ $# = 1 ] || {
  echo "usage: bash deploy/restore.sh ARCHIVE" >&2
  exit 2
}
archive=$(realpath -m "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077

fail() {
  echo "restore: $1" >&2
  exit 1
}

own=(.env airflow.env docker-compose.override.yaml docker-compose.override.yml ssh tls)
for file in "${own[@]}"; do
  [ ! -e "$file" ] || fail "$PWD/$file is there, so this checkout has a deployment: restore into a fresh clone, \
or move $file away"
done
[ -f "$archive" ] || fail "there is no file $archive: name an archive that deploy/backup.sh made"

started=''
work=$(mktemp -d "$PWD/.restore-XXXXXX")
files=$work/files parts=$work/parts
mkdir "$files" "$parts"
compose() {
  # The address of the other machine is not this one's.
  PRIVATE_BIND=127.0.0.1 docker compose --env-file "$files/.env" "$@"
}
# Whatever happens, a second try finds what this one found.
clean_up() {
  local status=$?
  if [ "$status" != 0 ] && [ -n "$started" ]; then
    echo "restore: failed; removing what it has made" >&2
    compose down --volumes >/dev/null 2>&1 ||
      echo "restore: what it has made is still there: $remedy" >&2
  fi
  [ "$status" = 0 ] || rm -rf "${own[@]}"
  rm -rf "$work"
}
trap clean_up EXIT

tar -C "$parts" -xf "$archive" 2>/dev/null && [ -f "$parts/SHA256SUMS" ] ||
  fail "$archive is no whole archive of deploy/backup.sh: copy it again"
(cd "$parts" && sha256sum --quiet --check SHA256SUMS >&2) ||
  fail "$archive is damaged, see above: copy it again, or take another one"

value() {
  sed -n "s/^$1=//p" "$parts/MANIFEST"
}
schema=$(sed -n 's/^HEAD = "\(.*\)"/\1/p' plugins/sqltune/records/database.py)
if [[ $(value sqltune_schema) > $schema ]]; then
  fail "the backup has schema $(value sqltune_schema) of the records, this checkout expects $schema: \
check out what it was made with, git checkout $(value commit)"
fi

tar --numeric-owner -C "$files" -xpzf "$parts/files.tar.gz"
for file in "$files"/docker-compose.override.*; do
  [ ! -e "$file" ] || cp -a "$file" .
done
project=$(compose config | sed -n 's/^name: //p')
# In a folder without a Compose file, which would ask for its settings.
remedy="(cd / && docker compose --project-name $project down --volumes)"
volumes=$(docker volume ls --quiet --filter "label=com.docker.compose.project=$project")
[ -z "$volumes" ] || fail "there are volumes of a deployment $project (${volumes//$'\n'/, }): where nobody needs \
their data, $remedy"

echo "backup of $(value made), sqltune $(value sqltune); building the images"
compose build --quiet init mlflow
started=yes
compose up --detach --wait postgres
postgres() {
  compose exec -T --user postgres postgres "$@"
}
tables=$(postgres psql --username airflow --dbname airflow --no-align --tuples-only --command \
  "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
if [ "$tables" != 0 ]; then
  compose down >/dev/null 2>&1
  started=''
  fail "database airflow has $tables tables already: restore into an empty PostgreSQL"
fi
echo "databases"
postgres createdb --username airflow sqltune
for database in airflow sqltune; do
  postgres pg_restore --username airflow --dbname "$database" --no-owner --single-transaction <"$parts/$database.dump"
done
echo "logs and MLflow"
compose run --rm -T --no-deps api-server tar -C /opt/airflow/logs -xz <"$parts/logs.tar.gz"
compose run --rm -T --no-deps mlflow tar -C /mlflow -xz <"$parts/mlflow.tar.gz"
echo "settings and keys"
for file in "${own[@]}"; do
  [ ! -e "$files/$file" ] || cp -a "$files/$file" .
done
cp -a "$files/include/configs/." include/configs/
[ "$(id -u)" = 0 ] || [ ! -d ssh ] || echo "The containers' user must read the keys: sudo chown -R 1000 ssh"
echo "Restored. Next: docker compose up -d"
