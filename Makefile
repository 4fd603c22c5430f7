# Two commands: `make up` and `make test`. `make help` lists the others.
# The environment is .venv in this folder; scripts/environment makes it and keeps it fresh.

.DEFAULT_GOAL := help
.PHONY: help up down status test test-long lint format bench bench-ha bench-synth lock docs scan env env-dev

BIN := .venv/bin
# Arguments of the command itself: make up ARGS="--port 5000"
ARGS ?=
# Three workers on the two cores of a small CI machine: tests against servers wait as much as they work.
# The tests of one file share servers, so a file stays on one worker; tests/conftest.py says which files come first.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

up: env ## Start the local cloud, deploy the stack, print how to connect
	@$(BIN)/multiaz up $(ARGS)

down: env ## Remove the stack, its data and its processes (YES=1 to not be asked)
	@$(BIN)/multiaz down $(if $(YES),--yes) $(ARGS)

status: env ## Show instances, zones, endpoints and lag
	@$(BIN)/multiaz status $(ARGS)

test: lint ## Every check, and every test that is not marked long
	@$(PYTEST) -m "not long" $(ARGS)

test-long: lint ## Every check and every test
	@$(PYTEST) $(ARGS)

lint: env-dev ## ruff, format, mypy, import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: env-dev ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

bench: env-dev ## Measure: up, synth, write outage of failovers
	@$(BIN)/python scripts/bench_up.py $(ARGS)

bench-ha: env-dev ## Measure: what failovers cost clients, beside Patroni (ARGS="--install" gets it)
	@$(BIN)/python scripts/bench_ha.py $(ARGS)

bench-synth: env-dev ## Measure synth and check beside CDK (ARGS="--install" gets CDK)
	@$(BIN)/python scripts/bench_synth.py $(ARGS)

docs: env-dev ## Write the documents that are made from code
	@$(BIN)/python scripts/generate_docs.py

scan: env-dev ## Run checkov and cfn-guard over both presets, in .venv-scan
	@$(BIN)/python scripts/scan.py

lock: ## Resolve uv.lock and export requirements/ (needs uv)
	@scripts/lock

env:
	@scripts/environment run

env-dev:
	@scripts/environment dev
