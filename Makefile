# `make` alone explains every target. Everything is installed into .venv, nothing elsewhere.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8080
# More arguments for pytest, as in: make test ARGS="-k counters -x"
ARGS ?=
# Processes that share the tests out, a file at a time: most of them wait for servers.
JOBS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
CLIENT := $(wildcard clients/python/pyproject.toml clients/python/setup.cfg)
CLIENT_INSTALL := $(if $(CLIENT),-e clients/python)
DESCRIPTION := setup.cfg setup.py pyproject.toml $(wildcard realtime/native/*.c) $(CLIENT)

# The first Python on the machine that is new enough and can make environments. Looked for
# only when there is no environment yet.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && { command -v "$$python"; break; }; done)

.PHONY: help
help: ## Explain the targets
	@echo "usage: make TARGET"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

# -- see it -------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.run ## Start the demonstration (PORT=8081 for another port): open the address it prints
	@exec $(BIN)/realtime serve --demo --host $(HOST) --port $(PORT)

.PHONY: procfile
procfile: $(VENV)/.test ## Start two servers joined by one Valkey: ports 8081 and 8082
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec $(BIN)/honcho start

# -- check it -----------------------------------------------------------------

.PHONY: test
test: $(VENV)/.test ## Run all tests but the browser's and the long proof
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

.PHONY: lint
lint: $(VENV)/.lint ## Check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: format
format: $(VENV)/.lint ## Repair what can be repaired of the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: $(VENV)/.lint ## Check the types (mypy --strict)
	$(BIN)/mypy
	$(if $(CLIENT),cd clients/python && $(CURDIR)/$(BIN)/mypy)

.PHONY: floors
floors: $(VENV)/.lint ## Check that imports only point down
	@$(BIN)/lint-imports

.PHONY: browser
browser: $(VENV)/.browser ## Test the page in a headless Chromium (installs it where it may)
	@tests/browser/install-chromium
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

.PHONY: screenshots
screenshots: $(VENV)/.browser ## Take the pictures of the documentation anew
	@tests/browser/install-chromium
	REALTIME_SCREENSHOTS=docs/images $(BIN)/python -m pytest -m browser tests/browser -k picture

.PHONY: conformance
conformance: $(VENV)/.test ## Run Autobahn's cases (RFC 6455) against the server
	$(BIN)/python -m pytest tests/conformance -m "" -n $(JOBS) --dist load $(ARGS)

.PHONY: proof
proof: $(VENV)/.test ## Prove exact counts on real data, through crashes; takes minutes
	$(BIN)/python -m tests.proof $(ARGS)

.PHONY: deploy-proof
deploy-proof: $(VENV)/.test ## Prove that a rolling restart with 5,000 clients loses nothing
	$(BIN)/python -m tests.proof.deploy $(ARGS)

.PHONY: bench
bench: $(VENV)/.test ## Run the benchmarks one after the other
	@for file in benchmarks/[a-z]*.py; do echo "# $$file"; $(BIN)/python "$$file" || exit 1; done

.PHONY: clean
clean: ## Remove the environment and all that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .coverage

# -- the environment: one stamp for each set of packages ------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer with its venv module is needed."; \
		echo "Debian and Ubuntu: apt-get install python3 python3-venv. macOS: brew install python."; \
		echo "Or name one: make PYTHON=/path/to/python3.12 ..."; exit 1; } >&2
	@echo "Making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP) --upgrade pip

$(VENV)/.run: $(DESCRIPTION) | $(BIN)/python
	@echo "Installing the package into $(VENV)"
	@$(PIP) -e . $(CLIENT_INSTALL)
	@touch $@

$(VENV)/.test: $(DESCRIPTION) | $(BIN)/python
	@echo "Installing the package and what its tests need into $(VENV)"
	@$(PIP) -e ".[test,replay,proof,bench]" $(CLIENT_INSTALL)
	@touch $@

# The type checker reads realtime/testing, which stands on what the tests stand on.
$(VENV)/.lint: $(DESCRIPTION) | $(BIN)/python
	@echo "Installing the package and its linters into $(VENV)"
	@$(PIP) -e ".[lint,test,replay]" $(CLIENT_INSTALL)
	@touch $@

$(VENV)/.browser: $(DESCRIPTION) | $(BIN)/python
	@echo "Installing the package and what drives a browser into $(VENV)"
	@$(PIP) -e ".[browser]" $(CLIENT_INSTALL)
	@touch $@
