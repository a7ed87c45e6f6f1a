# `make demo` and `make test` set up everything they need in .lab.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
LAB_DIR := $(or $(SQLTUNE_LAB_DIR),.lab)
CONTROL := $(LAB_DIR)/control-env/bin
export ARGS AT DATASET Q C RUN
# Let Python keep its bytecode; otherwise each of a run's thirty processes compiles Airflow again.
unexport PYTHONDONTWRITEBYTECODE

# In two processes, as the tests of gangs wait much; those begin. tests/scheduling.py says what stays together.
PROCESSES ?= 2
PYTEST = $(CONTROL)/python -m pytest -n $(PROCESSES) --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo lab airflow ask served alert-test report status down test test-fast chaos compose-test upgrade-test lint audit sbom bench-gang bench-scale bench-overhead bench-gpu lock ui
.PHONY: pictures setup setup-control setup-dev

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

setup:
	@$(PYTHON) -m lab.setup

setup-control:
	@$(PYTHON) -m lab.setup --dev --control-only

setup-dev: ## create the environments for development under .lab; 2 to 10 minutes
	@$(PYTHON) -m lab.setup --dev

demo: setup ## train, evaluate and serve a model here; ARGS='{"max_steps": 20}' fills in the form
	@$(CONTROL)/python -m lab demo

lab: setup ## start two SSH hosts and a dataset hub
	@$(CONTROL)/python -m lab lab

airflow: setup ## start the lab and Airflow, without a run
	@$(CONTROL)/python -m lab airflow

ask: ## ask the served model one question: Q='the question' C='CREATE TABLE …'
	@$(CONTROL)/python -m lab ask

served: ## print what was served when; AT='2026-11-24 14:03' for one time
	@$(CONTROL)/python -m lab served

alert-test: ## send a test message to everyone who gets alerts; prints which arrived
	@$(CONTROL)/python -m lab alert

report: ## save a run of the lab as one HTML file: RUN=<run id>, or the last demo
	@$(CONTROL)/python -m lab report

status: ## print every process and how to reach the hosts
	@$(CONTROL)/python -m lab status

down: ## stop everything; fails if a process is left
	@if [ -x $(CONTROL)/python ]; then $(CONTROL)/python -m lab down; else echo "the lab is not set up here"; fi

test: setup-dev ## run every test, with the chain end to end
	@$(PYTEST)

test-fast: setup-dev ## run the tests without hosts, Airflow's components and a browser; about a minute
	@$(PYTEST) -m "not slow and not chaos and not pictures and not compose"

chaos: setup-dev ## run every fault injection on real hosts and a real Airflow; about an hour
	@$(CONTROL)/python -m pytest -m "not pictures and not compose" tests/hosts tests/ssh_gang/shell tests/node \
		tests/chain tests/sqltune/revisions/test_kills.py

compose-test: setup-dev ## deploy docker-compose.yaml on a Docker engine of its own, in both shapes; root, Debian, 20 minutes
	@$(CONTROL)/python -m pytest -n0 -v -s -m compose tests/deploy --ignore tests/deploy/test_upgrade.py

upgrade-test: setup-dev ## upgrade a deployment of the version before, on a Docker engine of its own; 5 minutes
	@$(CONTROL)/python -m pytest -n0 -v -s -m compose tests/deploy/test_upgrade.py

lint: setup-control ## run every static check: style, types, layers, shell, Dockerfile, Compose file
	@$(CONTROL)/python -m lab.lint

AUDIT = $(CONTROL)/uv run --quiet --isolated --no-project --with-requirements requirements-audit.txt
SHIPPED = requirements.txt requirements-image.txt lab/mlflow.txt include/node/requirements.txt \
	include/node/requirements-vllm.txt
# Vulnerabilities that are accepted: `--ignore-vuln ID`, each with its reason in a line above.
ACCEPTED =

audit: ## look the pinned packages up in PyPI's list of vulnerabilities; needs the network
	@$(AUDIT) pip-audit --strict --disable-pip --no-deps --progress-spinner off $(ACCEPTED) $(SHIPPED:%=-r %)

sbom: ## write a bill of materials (CycloneDX) of each requirements file to build/sbom
	@mkdir -p build/sbom
	@for file in $(SHIPPED); do \
		$(AUDIT) cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-format JSON \
			--output-file build/sbom/$$(echo $${file%.txt} | tr / -).cdx.json $$file || exit 1; \
	done; ls build/sbom/*

bench-gang: setup-dev ## compare a gang with Airflow's SSH operators and plain torchrun; prints JSON lines
	@$(CONTROL)/python bench/gang.py

bench-scale: setup-dev ## measure 64 hosts, 100 gangs, 1,000 runs, 10,000 questions and 16 clusters; prints JSON lines
	@$(CONTROL)/python -m bench.scale

bench-overhead: ## measure the DAG against a shell script, on a lab that is up (make airflow)
	@$(CONTROL)/python bench/overhead.py

bench-gpu: ## measure on this machine's GPUs, with the PyTorch of PYTHON; docs/benchmarks.md says what it needs
	@$(PYTHON) -m bench.gpu

ui: ## build the page into plugins/sqltune/ui/static; needs Node 20
	@PYTHONPATH=plugins $(CONTROL)/python -c 'import json; from sqltune.ui.app import create_app; \
		print(json.dumps(create_app().openapi(), indent=1, ensure_ascii=False))' > ui/openapi.json
	@cd ui && npm ci --no-audit --no-fund --ignore-scripts && npm run types && npm run build && npm test

pictures: ## take the docs' pictures of the page, of a demo that is up
	@$(CONTROL)/python -m pytest -m pictures tests/sqltune/ui tests/chain/test_revisions.py

COMPILE = $(CONTROL)/uv pip compile --python-version 3.11 --no-emit-index-url \
	--custom-compile-command "make lock"

lock: ## compile requirements.in, requirements-dev.in, -image.in, -audit.in and lab/mlflow.in
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) requirements-dev.in -c requirements.txt -o requirements-dev.txt
	$(COMPILE) requirements-image.in -c requirements-dev.txt -o requirements-image.txt
	$(COMPILE) requirements-audit.in -o requirements-audit.txt
	$(COMPILE) lab/mlflow.in -o lab/mlflow.txt
