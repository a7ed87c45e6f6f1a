# Airflow with what its tasks import; the code itself is mounted by docker-compose.yaml.
FROM python:3.11-slim
# Compiled once, here: the tasks' user can't keep what it compiles, and would compile Airflow again for every
# task (three seconds of it).
ENV UV_COMPILE_BYTECODE=1
# Debian removes a package's old version from its mirrors, so a pinned one would soon fail to install.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home --home-dir /opt/airflow airflow \
 && mkdir -p /opt/sqltune && chown airflow /opt/sqltune
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir uv==0.13.9 && uv pip install --system --no-cache -r /tmp/requirements.txt
# zhipuai can't live beside Airflow: they need different versions of pyjwt.
RUN uv venv /opt/reference-env \
 && uv pip install --python /opt/reference-env/bin/python --no-cache zhipuai==2.1.5.20250825 sniffio==1.3.1
# By number, so that the image's user can be resolved anywhere.
USER 1000
WORKDIR /opt/sqltune
