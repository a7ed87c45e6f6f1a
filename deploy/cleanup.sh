#!/usr/bin/env bash
# Remove, once a day, what Airflow has kept for longer than some days:  cleanup.sh DAYS  (0: nothing)
# Task logs, runs with what belongs to them, the audit log. sqltune's records and log store keep to settings of
# their own (docs/deploy.md).
set -euo pipefail
shopt -s nullglob
if ! [[ $1 =~ ^[0-9]+$ ]] || ((10#$1 > 0 && 10#$1 < 30)); then
  echo "AIRFLOW_KEEP_DAYS is '$1', expected 30 days or more, as a run that trains or waits for a person must not go, \
or 0 to keep everything: correct it in .env" >&2
  exit 1
fi
days=$((10#$1))
cd "$AIRFLOW_HOME/logs"
mkdir -p dag_processor
while ((days)); do
  removed=0
  # Airflow's own folders; the log store may be beside them.
  for folder in dag_id=* dag_processor/; do
    removed=$((removed + $(find "$folder" -type f -mtime "+$days" -print -delete | wc -l)))
    # One that was made a moment ago is empty until its first file comes.
    find "$folder" -mindepth 1 -type d -empty -mtime +0 -delete
  done
  echo "removed $removed files of task logs older than $days days; left: $(du -sh . | cut -f1) under $PWD"
  airflow db clean --clean-before-timestamp "$(date -u -d "-$days days" +%Y-%m-%dT%H:%M:%SZ)" --skip-archive --yes
  sleep 1d
done
exec sleep infinity
