#!/usr/bin/env bash
# Remove, once a day, what Airflow has kept for longer than some days:  cleanup.sh DAYS  (0: nothing)
# Task logs, runs with what belongs to them, the audit log. sqltune's records and log store keep to settings of
# their own (docs/deploy.md).
set -euo pipefail
days=$1
[[ $days =~ ^[0-9]+$ ]] || {
  echo "AIRFLOW_KEEP_DAYS is '$days', expected a number of days, or 0 to keep everything: correct it in .env" >&2
  exit 1
}
logs=$AIRFLOW_HOME/logs
while [ "$days" != 0 ]; do
  removed=$(find "$logs" -not -path "$SQLTUNE_LOG_STORE/*" -type f -mtime "+$days" -print -delete | wc -l)
  # One that was made a moment ago is empty until its first file comes.
  find "$logs" -mindepth 1 -not -path "$SQLTUNE_LOG_STORE*" -type d -empty -mtime +0 -delete
  echo "removed $removed files of task logs older than $days days; left: $(du -sh "$logs" | cut -f1) under $logs"
  airflow db clean --clean-before-timestamp "$(date -u -d "-$days days" +%Y-%m-%dT%H:%M:%SZ)" --skip-archive --yes
  sleep 1d
done
exec sleep infinity
