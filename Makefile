# Every target has one line of help; `make` alone prints them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
SOURCES := stoq_core handlers plugins infra tests

.PHONY: help setup setup-dev scan test check lint types format lock rules e2e bench bundle clean

help: ## Show what there is to do
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: .venv/.ready ## Make the environment in .venv and install the lock
.venv/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stoQ needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/stoq rules build rules --out rules/build
	@touch $@

setup-dev: .venv/.ready-dev ## The same with what the tests and checks need
.venv/.ready-dev: .venv/.ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@if command -v c++ >/dev/null; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-image.txt; \
	else echo "not tested: worker tlsh, which needs a C++ compiler (apt-get install g++ python3-dev)"; fi
	@touch $@

scan: setup ## Scan FILE=path and show the result; without FILE a small set built in code
	@$(if $(FILE),$(BIN)/stoq scan "$(FILE)",$(BIN)/stoq demo)

test: setup-dev ## Run the tests
	$(BIN)/python -m pytest -m "not e2e and not soak"

check: setup-dev ## What CI runs: lint, types, import contracts, tests, whole paths
	@time $(MAKE) --no-print-directory lint
	@time $(MAKE) --no-print-directory types
	@time $(MAKE) --no-print-directory test
	@time $(MAKE) --no-print-directory e2e

lint: setup-dev ## Style, spelling and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell $(SOURCES) *.md rules/*.yar
	$(BIN)/lint-imports

types: setup-dev ## mypy --strict
	$(BIN)/mypy

format: setup-dev ## Put the sources into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup-dev ## Write requirements*.txt anew from pyproject.toml
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python infra/lock.py

rules: setup ## Compile rules/ into one ruleset
	$(BIN)/stoq rules build rules --out rules/build

e2e: setup-dev ## Whole paths on an emulated AWS that runs the function
	$(BIN)/python -m pytest -m e2e --timeout=400

bench: setup-dev ## Measure beside the bare libraries, in one run
	$(BIN)/python -m tests.bench

bundle: setup-dev ## The zip for Lambda, arm64, in build/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python infra/build.py

clean: ## Remove what was built
	rm -rf .venv build dist rules/build .mypy_cache .ruff_cache .pytest_cache .hypothesis
