# The whole interface for people: `make demo` to see it, `make test` to prove it, `make help` for the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := .uv/bin/uv

# Two at a time, a file or a shared story to each (tests/conftest.py), the long ones first.
WORKERS := -n 2 --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test fast compose-test infra-test lint format doctor lock clean

help: ## List what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(VENV)/.ready ## Build the environment in .venv, and nothing else

# uv lives in a folder of its own, so that the environment holds what the lock file says and nothing more.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}; set PYTHON=python3.11")'
	@$(PYTHON) -m venv .uv || { echo "python venv is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@.uv/bin/pip install --quiet --disable-pip-version-check uv

$(VENV)/.ready: $(UV) requirements.lock pyproject.toml
	@echo "building .venv from requirements.lock (about a minute, 1.8 GB)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Twelve simulated weeks: table on the screen, report in runs/demo/report.html
	@$(BIN)/mlops demo

up: ## The whole platform in containers (needs Docker only): builds the image, starts, prints the logins once
	@GIT_COMMIT="$$(git describe --always --dirty --abbrev=40 2>/dev/null)" docker compose build --quiet secrets
	@docker compose run --rm -T secrets --show-new
	docker compose up --detach --wait --wait-timeout 600
	@echo "http://127.0.0.1:$${PAGE_PORT:-8000}   first page; the logins again: docker compose run --rm secrets --show"

down: ## Stop the containers; their volumes are kept (docker compose down --volumes deletes them)
	docker compose down

doctor: setup ## Check Python, disk, memory, ports and permissions
	@$(BIN)/mlops doctor

lint: setup ## Format, rules, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fast: setup ## The tests that take under a minute together
	$(BIN)/pytest $(WORKERS) -m "not slow"

test: lint ## Everything that must pass
	$(BIN)/pytest $(WORKERS)

compose-test: setup ## The containers on a real Docker engine, as a person would use them (15 minutes, not part of `make test`)
	$(BIN)/pytest tests/compose --exitfirst

infra-test: setup ## Terraform against an emulator of AWS: planned, judged, applied, drifted, repaired, destroyed (12 minutes; needs Terraform)
	$(BIN)/mlops infra test all

lock: $(UV) ## Resolve the lock file anew
	$(UV) pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet --output-file requirements.lock

clean: ## Delete what was built
	rm -rf .venv .uv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
