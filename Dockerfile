# Three images: Airflow with sqltune, which docker-compose.yaml uses for each component, MLflow's server, and Caddy.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm
ARG CADDY_IMAGE=caddy:2.10.2-alpine
FROM $PYTHON_IMAGE AS base
# Compiled once, here: the tasks' user can't keep what it compiles, and would compile Airflow again for every
# task (three seconds of it).
ENV UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir uv==0.13.9 && useradd --uid 1000 --create-home --home-dir /opt/airflow airflow

FROM base AS airflow
# Debian removes a package's old version from its mirrors, so a pinned one would soon fail to install.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends openssh-client tini \
 && rm -rf /var/lib/apt/lists/* \
 # The probes of Airflow's Helm chart call the entrypoint of Airflow's own image, with a command.
 && ln -s /usr/bin/env /entrypoint \
 # zhipuai can't live beside Airflow: they need different versions of pyjwt.
 && uv venv /opt/reference-env \
 && uv pip install --python /opt/reference-env/bin/python --no-cache zhipuai==2.1.5.20250825 sniffio==1.3.1
COPY requirements-image.txt /tmp/requirements.txt
# What the containers write: logs, and the passwords of the simple auth manager. A volume takes over the owner.
RUN uv pip install --system --no-cache -r /tmp/requirements.txt \
 && install -d -o 1000 -g 1000 /opt/airflow/logs /opt/airflow/auth
COPY dags /opt/sqltune/dags
COPY plugins /opt/sqltune/plugins
COPY include /opt/sqltune/include
COPY deploy /opt/sqltune/deploy
RUN python -m compileall -q /opt/sqltune/plugins
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/sqltune/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/sqltune/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=false \
    SQLTUNE_REFERENCE_PYTHON=/opt/reference-env/bin/python \
    PYTHONPATH=/opt/sqltune/plugins
USER 1000
WORKDIR /opt/sqltune

FROM base AS mlflow
COPY lab/mlflow.txt /tmp/requirements.txt
RUN uv pip install --system --no-cache -r /tmp/requirements.txt && install -d -o 1000 -g 1000 /mlflow
# By number, so that the user can be resolved anywhere.
USER 1000
WORKDIR /mlflow

FROM $CADDY_IMAGE AS proxy
COPY deploy/Caddyfile /etc/caddy/Caddyfile
# Where it keeps certificates.
RUN install -d -o 1000 -g 1000 /data/caddy /config/caddy
USER 1000
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]
