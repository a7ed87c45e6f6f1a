#!/usr/bin/env bash
# Back up a deployment while it runs:  bash deploy/backup.sh [FOLDER]
# Makes one archive in FOLDER (./backups): both databases, logs, MLflow's database and artifacts, settings, keys.
# It holds every secret: keep it as you keep the keys. The models stay on the hosts.
set -euo pipefail
folder=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../backups}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077

fail() {
  echo "backup: $1" >&2
  exit 1
}

[ -f .env ] || fail "there is no .env in $PWD: run this in the checkout that the deployment runs from"
running=$(docker compose ps --services --status running)
for service in postgres api-server mlflow; do
  grep -qx "$service" <<<"$running" ||
    fail "$service is not running here, and holds a part of the backup: docker compose up -d $service"
done

mkdir -p "$folder"
# Beside the archive, so that it becomes whole by a rename.
work=$(mktemp -d "$folder/.backup-XXXXXX")
clean_up() {
  local status=$?
  rm -rf "$work"
  [ "$status" = 0 ] || echo "backup: failed; there is no archive" >&2
}
trap clean_up EXIT
parts=$work/parts
mkdir "$parts"

postgres() {
  docker compose exec -T --user postgres postgres "$@"
}

schema() {
  postgres psql --username airflow --dbname "$1" --no-align --tuples-only --command "SELECT version_num FROM $2" ||
    fail "database $1 is not in this postgres: back it up where POSTGRES_HOST says"
}

schema airflow alembic_version >/dev/null
sqltune_schema=$(schema sqltune sqltune_schema)
log_store=$(docker compose exec -T api-server printenv SQLTUNE_LOG_STORE)

# In this order, as what is newer in a later part does no harm: a run that only the records have counts as deleted in
# Airflow, and what MLflow has already is sent again.
for database in airflow sqltune; do
  echo "database $database"
  postgres pg_dump --username airflow --format custom "$database" >"$parts/$database.dump"
  # Reads it to its end.
  postgres pg_restore --file /dev/null <"$parts/$database.dump"
done
echo "logs"
# tar ends with 1 where a file grew while it was read.
docker compose exec -T api-server sh -c 'tar -C /opt/airflow/logs -c . || [ $? = 1 ]' | gzip >"$parts/logs.tar.gz"
echo "MLflow"
docker compose exec -T mlflow python -S - <deploy/pack_mlflow.py | gzip >"$parts/mlflow.tar.gz"
echo "settings and keys"
files=(.env include/configs)
for file in airflow.env docker-compose.override.yaml docker-compose.override.yml ssh tls; do
  [ ! -e "$file" ] || files+=("$file")
done
tar --numeric-owner -czf "$parts/files.tar.gz" "${files[@]}" ||
  fail "a setting or key cannot be read: run this as root, or as the owner of ./ssh"
for part in logs mlflow; do
  tar -tzf "$parts/$part.tar.gz" >/dev/null
done

cat >"$parts/MANIFEST" <<END
made=$(date -u +%Y-%m-%dT%H:%M:%SZ)
sqltune=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
sqltune_schema=$sqltune_schema
log_store=$log_store
END
names=(MANIFEST airflow.dump sqltune.dump files.tar.gz logs.tar.gz mlflow.tar.gz)
(cd "$parts" && sha256sum "${names[@]}" >SHA256SUMS)

archive=$folder/sqltune-$(date -u +%Y-%m-%dT%H%M%SZ).tar
# Each part goes as it is packed: the archive needs no second place on the disk.
tar --remove-files -C "$parts" -cf "$work/archive" SHA256SUMS "${names[@]}"
sync "$work/archive"
mv "$work/archive" "$archive"
echo "$archive: $(du -h "$archive" | cut -f1), with every secret of this deployment"
case $log_store in
/opt/airflow/logs | /opt/airflow/logs/*) ;;
*) echo "not in it: the log store $log_store, which needs a backup of its own" ;;
esac
