#!/usr/bin/env bash
# Bring a deployment to the checkout's version:  git pull && bash deploy/upgrade.sh
# Both databases are migrated; trainings on the hosts go on, and are found again. Run it again if it was interrupted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if grep -qs '^API_SERVER=.' .env; then
  echo "upgrade: API_SERVER in .env says that this machine has workers alone: upgrade that one first, and here
  docker compose build init && docker compose up --detach --no-deps worker" >&2
  exit 1
fi
bash deploy/fill-env.sh
docker compose build --quiet
project=$(docker compose config | sed -n 's/^name: //p')
# Programs of the version before do not run on the migrated databases. A worker's task is let go on to its end.
docker compose --profile '*' down --remove-orphans

# 0.2 kept logs with everything else in the volume `airflow`, and ran MLflow as root.
old=${project}_airflow logs=${project}_logs
if docker volume inspect "$old" >/dev/null 2>&1; then
  # Makes the volumes, as Compose labels them.
  docker compose create
  docker run --rm --user 0 -v "$old:/old:ro" -v "$logs:/logs" -v "${project}_mlflow:/mlflow" sqltune sh -ec '
    [ ! -e /logs/.moved ] || exit 0
    mkdir -p /logs/sqltune
    [ ! -d /old/logs ] || cp -a /old/logs/. /logs/
    [ ! -d /old/sqltune/logs ] || cp -a /old/sqltune/logs/. /logs/sqltune/
    chown -R 1000:1000 /logs /mlflow
    touch /logs/.moved'
  echo "The logs of $old are in $logs now. Once you have seen them: docker volume rm $old"
fi

known=$(grep -oh '[A-Za-z_]*' docker-compose.yaml deploy/machines.yaml .env.example | sort -u)
unread=$(sed -n 's/^\([A-Za-z_]*\)=.*/\1/p' .env | grep -vxF "$known" | grep -v '^COMPOSE_' | paste -sd ' ' || true)
if [ -n "$unread" ]; then
  echo ".env: no longer read: $unread. Settings of Airflow and sqltune go into airflow.env; see .env.example" >&2
fi
docker compose up --detach
