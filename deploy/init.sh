#!/usr/bin/env bash
# Migrate Airflow's database and the records', and make the first user. Runs at every `docker compose up`, and does
# nothing where nothing is to be done.
set -euo pipefail
airflow db migrate
python -m sqltune.cli migrate
case $AIRFLOW__CORE__AUTH_MANAGER in
*.FabAuthManager)
  # It asks for the password, twice: an argument could be read by others. A user who exists stays as he is.
  password=$(cat /run/secrets/admin_password)
  printf '%s\n%s\n' "$password" "$password" |
    airflow users create --username admin --role Admin --firstname Admin --lastname sqltune --email admin@localhost
  ;;
*.SimpleAuthManager)
  # With the file complete, the auth manager generates no password, and prints none.
  umask 077
  python -c '
import json, pathlib, sys
password = pathlib.Path("/run/secrets/admin_password").read_text().strip()
pathlib.Path(sys.argv[1]).write_text(json.dumps({"admin": password}))' \
    "$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
  ;;
esac
