#!/usr/bin/env bash
# Start one of Airflow's components once the api-server answers:  component.sh scheduler
# The engine's own restart, after a crash or a reboot, starts all containers at once, and tasks that are started
# before the api-server answers fail for good.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
until python -S "$here/healthy.py" api-server 2>/dev/null; do
  sleep 1
done
exec airflow "$@"
