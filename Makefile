# Every target is described behind its "##": `make help` prints them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Some environments forbid it; then each of the many processes of a demo or a test would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test check format lint types contracts requirements loadtest bench compose-demo compose-test clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv and install everything into it

$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "make: $(PYTHON) is missing or older than 3.11: install Python 3.11 or newer, or call make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "make: $(PYTHON) has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV) (about a minute)"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## Start everything, charge subscribers, kill leaders, print the judge's verdict (Ctrl-C ends it)
	@$(BIN)/middleman demo $(ARGS)

# The core is what has to be right: its coverage is measured with every full run, and has a floor.
CORE := domain ports leadership billing
# Three workers on two cores, since most tests wait; what takes long comes first (tests/conftest.py has the order).
FULL := -n 3 --dist loadfile --no-loadscope-reorder --cov-fail-under=90 --cov-report=term:skip-covered $(CORE:%=--cov=middleman.%)

test: $(STAMP) ## Run the whole test suite against real servers (ARGS="tests/unit -k fence" runs a part)
	@$(BIN)/pytest $(if $(ARGS),$(ARGS),-q $(FULL))

check: lint types contracts ## Lint, type-check and check the import contracts

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

contracts: $(STAMP)
	@$(BIN)/lint-imports

format: $(STAMP) ## Format the code and apply the linter's safe fixes
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format .

bench: $(STAMP) ## Measure one leader beside the bare SDK, in one run, with a ratio
	@$(BIN)/middleman bench billing $(ARGS)

loadtest: $(STAMP) ## Run Locust against the REST API of a cluster of its own, then the judge
	@$(BIN)/python loadtest/run.py $(ARGS)

DOCKER := @docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1 || \
	  { echo "make: no Docker engine with Compose v2 answers: install one, start it, and be in its group"; exit 2; }

compose-demo: ## Start everything with docker compose, and follow what is charged (Ctrl-C leaves it running)
	$(DOCKER)
	@docker compose up -d --build --wait && docker compose logs --no-log-prefix welcome && docker compose logs -f --no-log-prefix demo

compose-test: $(STAMP) ## Build, start, break, judge and remove the compose stack (some minutes; ARGS="-k partition")
	$(DOCKER)
	@COMPOSE_TEST=1 $(BIN)/pytest -q -p no:cacheprovider --timeout=600 $(if $(ARGS),$(ARGS),) tests/compose

requirements: ## Compile the hashed requirements files from pyproject.toml (needs uv)
	uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -o requirements.txt
	uv pip compile -q --no-strip-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra dev pyproject.toml -o requirements-dev.txt

clean: ## Remove the virtual environment and all run data
	rm -rf $(VENV) .middleman
