#!/usr/bin/env bash
# Print the Secrets that values.yaml names, from .env and ./ssh:
#
#     POSTGRES_HOST=db.example.com bash deploy/helm/secrets.sh | kubectl apply -n sqltune -f -
#
# POSTGRES_HOST: host, or host:port; its user `airflow` has POSTGRES_PASSWORD of .env.
# LOGS_CONNECTION: Airflow's Connection to the object store. aws://, the default: the pod's own credentials.
# RELEASE: name of the Helm release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [ ! -e .env ]; then
  echo ".env does not exist, which holds the secrets: run bash deploy/fill-env.sh" >&2
  exit 1
fi
host=${POSTGRES_HOST:?is not set, which names the PostgreSQL server: POSTGRES_HOST=db.example.com}

# value NAME: what .env says, in Compose's format: as it is, or between single quotes.
value() {
  local text
  text=$(sed -n "s/^$1=//p" .env | tail -n 1)
  case $text in
  \'*\') text=${text:1:-1} text=${text//\\\'/\'} ;;
  \"*)
    echo ".env: $1 is between double quotes, in which Compose expands variables: use single quotes" >&2
    exit 1
    ;;
  esac
  printf %s "$text"
}
for name in POSTGRES_PASSWORD REDIS_PASSWORD ADMIN_PASSWORD FERNET_KEY API_SECRET_KEY JWT_SECRET SQLTUNE_API_KEY \
  SQLTUNE_WEBHOOK_SECRET; do
  declare "$name=$(value "$name")"
done

# secret NAME KEY VALUE…
secret() {
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ndata:\n' "$1"
  shift
  while (($#)); do
    printf '  %s: "%s"\n' "$1" "$(printf %s "$2" | base64 -w0)"
    shift 2
  done
}

# address URL PASSWORD
address() {
  python3 -S deploy/with_password.py "$1" <(printf %s "$2")
}

metadata=$(address "postgresql+psycopg2://airflow@$host/airflow" "$POSTGRES_PASSWORD")
records=$(address "postgresql+psycopg2://airflow@$host/sqltune" "$POSTGRES_PASSWORD")
broker=$(address "redis://default@${RELEASE:-sqltune}-redis:6379/0" "$REDIS_PASSWORD")
secret sqltune-airflow fernet-key "$FERNET_KEY" api-secret-key "$API_SECRET_KEY" jwt-secret "$JWT_SECRET" \
  admin-password "$ADMIN_PASSWORD"
secret sqltune-database connection "$metadata" records "$records"
secret sqltune-broker connection "$broker" password "$REDIS_PASSWORD"
secret sqltune-keys api-key "$SQLTUNE_API_KEY" webhook-secret "$SQLTUNE_WEBHOOK_SECRET"
secret sqltune-logs connection "${LOGS_CONNECTION:-aws://}"
shopt -s nullglob
keys=(ssh/*)
if ((${#keys[@]})); then
  secret sqltune-ssh
  # As they are: a key without its last line end is not read.
  for key in "${keys[@]}"; do
    printf '  %s: "%s"\n' "${key#ssh/}" "$(base64 -w0 "$key")"
  done
fi
