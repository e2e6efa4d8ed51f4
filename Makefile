# Every target has one line of help; `make` alone prints them. Works with GNU make 3.81 and newer.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
CLOUD ?= aws
STAGE ?= dev
ARGS ?=
SOURCES := stoq_core handlers plugins infra tests
# python3 if it will do, else the newest that is there; only looked for when .venv has to be made
PYTHON ?= $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$one -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$one && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# what make itself would take apart in a file's name reaches the shell as it was typed
quoted = '$(subst ','\'',$(1))'

.PHONY: help setup setup-dev scan test where soak check lint types format lock docs rules rooms e2e bench \
  coverage bundle deploy clean

help: ## Show what there is to do
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.ready rules/build/.ready ## Make the environment in .venv from the lock, and compile the rules

.venv/.ready: requirements.txt requirements-build.txt pyproject.toml
	@$(if $(PYTHON),:,echo "stoQ needs Python 3.11 or newer with venv. Debian, Ubuntu: apt-get install python3-venv; \
	macOS: brew install python. Or say which: make setup PYTHON=/path/to/python3" >&2; exit 1)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stoQ needs Python 3.11 or newer")'
	@echo "setting up .venv" >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PIP) --require-hashes -r requirements.txt -r requirements-build.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# a bad rule is named and left out; stoq compiles the rules itself where this could not
rules/build/.ready: .venv/.ready $(wildcard rules/*.yar)
	@$(BIN)/stoq rules build rules --out rules/build || test $$? -eq 2
	@touch $@

setup-dev: setup .venv/.ready-dev node_modules/.ready ## The same with what the tests and checks need

.venv/.ready-dev: .venv/.ready requirements-dev.txt requirements-image.txt
	@echo "adding the tools of tests and checks" >&2
	@$(PIP) --require-hashes -r requirements-dev.txt
	@if command -v c++ >/dev/null; then $(PIP) --require-hashes -r requirements-image.txt; \
	else echo "not run: worker tlsh, which needs a C++ compiler (apt-get install g++ python3-dev)"; fi
	@touch $@

# Node comes from the dev lock: those of Debian 12 and Ubuntu 24.04 are too old for osls
node_modules/.ready: .venv/.ready-dev package.json package-lock.json
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --silent
	@touch $@

scan: setup ## Scan FILE=path and show the result; without FILE a small set built in code
ifdef FILE
	@$(BIN)/stoq scan $(ARGS) -- $(call quoted,$(value FILE)) || { code=$$?; echo "stoq's exit code is $$code \
	(1: suspicious or malicious, 2: incomplete or failed); make reports either as an error." >&2; exit $$code; }
else
	@$(BIN)/stoq demo
endif

test: setup-dev ## Run the tests; ends with the list of what was not run (ARGS="-k zip" for some)
	@$(BIN)/python -m pytest -m "not e2e and not soak" -rs $(ARGS)

where: setup-dev ## Name the tests of FILE=path
	@$(BIN)/python -m infra.where $(call quoted,$(value FILE))

check: setup-dev ## Exactly what CI runs: lint, types, docs, tests, whole paths, bench; each with its time
	@MAKE="$(MAKE)" bash infra/check.sh

lint: setup-dev ## Style, spelling, docstrings, dependencies and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell $(SOURCES) *.md docs rules/*.yar
	@$(BIN)/interrogate --quiet $(SOURCES)
	@$(BIN)/deptry --no-ansi .
	@$(BIN)/lint-imports

types: setup-dev ## mypy --strict
	@$(BIN)/mypy

format: setup-dev ## Put the sources into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup-dev ## Write requirements*.txt and package-lock.json anew (ARGS=--upgrade for newer versions)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python infra/lock.py $(ARGS)

docs: setup ## Write plugins/README.md, docs/findings.md and the schema anew from classes and rules
	@$(BIN)/python infra/docs.py $(ARGS)

rules: rules/build/.ready ## Compile rules/ into one ruleset

rooms: setup-dev ## Draw the rooms of the tree into docs/architecture.md (ARGS=--check only looks)
	@$(BIN)/python -m infra.rooms $(ARGS)

e2e: setup-dev ## Whole paths on emulated clouds that run the functions
	@$(BIN)/python -m pytest -m "e2e and not soak" --timeout=400 -rs $(ARGS)

soak: setup-dev ## The full numbers of the tests that have long ones
	@$(BIN)/python -m pytest -m soak --timeout=3600 -rs $(ARGS) || test $$? -eq 5 # 5: there is none yet

bench: setup-dev ## Measure beside the bare libraries, in one run
	@$(BIN)/python -m tests.bench

coverage: setup-dev ## Run the tests and show what they do not reach
	@$(BIN)/coverage run -m pytest -m "not e2e and not soak"
	@$(BIN)/coverage report --skip-covered --show-missing

bundle: setup-dev ## The zip for CLOUD=aws|gcp|azure, in build/ (ARGS="--plugins DIR --with REQUIREMENT")
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python infra/build.py --cloud $(CLOUD) $(ARGS)

deploy: bundle ## Build and deploy to CLOUD=aws|gcp|azure, STAGE=dev, with your credentials
	@PATH="$(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$$PATH" bash infra/$(CLOUD)/deploy.sh $(STAGE)

clean: ## Remove what was built and the environment
	@rm -rf .venv node_modules build dist rules/build .serverless .mypy_cache .ruff_cache .pytest_cache \
	  .hypothesis .import_linter_cache .coverage
