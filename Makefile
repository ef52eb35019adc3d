# The few commands of this project. `make up` and `make test` set up all they need by themselves.
.PHONY: help up test test-all test-aws lint docs lock
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
# Most tests wait for processes of their own. A file is one process's, in the order of the files: the longest come first.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder

help:  ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

up: export PATH := $(abspath $(BIN)):$(PATH)
up:  ## Run the whole system here: SQS and Valkey embedded, a downstream service, a worker, Flower (ARGS="--help")
	@scripts/setup $(VENV) local
	@exec $(BIN)/celery -A app up $(ARGS)

test:  ## Pass the tests that need nothing but Python and seconds (ARGS="-k name")
	@scripts/setup $(VENV) dev
	@$(BIN)/pytest -m "not needs and not long" $(PARALLEL) $(ARGS)

test-all:  ## Pass all tests: also those that take minutes, or need a browser, Java or other programs (skips say which)
	@scripts/setup $(VENV) browser
	@$(BIN)/pytest $(PARALLEL) $(ARGS)

test-aws:  ## Pass the contract and drain suites on your own AWS account, in queues that are made and removed (PREFIX=mine)
	@test -n "$(PREFIX)" || { echo "say how the queues' names are to begin: make test-aws PREFIX=sluice-test"; exit 2; }
	@scripts/setup $(VENV) dev
	@TEST_AWS_PREFIX="$(PREFIX)" $(BIN)/pytest tests/contract tests/integration/worker/test_drain.py $(ARGS)

lint:  ## Check style, types and import rules
	@scripts/setup $(VENV) dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs:  ## Make docs/settings.md again from the settings
	@scripts/setup $(VENV) dev
	@$(BIN)/python -m settings.document > docs/settings.md

lock:  ## Make the lock files again (ARGS=--upgrade for newer versions)
	@scripts/setup $(VENV) dev
	@$(BIN)/pip install --quiet "uv>=0.9"
	@PATH="$(abspath $(BIN)):$$PATH" scripts/lock $(ARGS)
