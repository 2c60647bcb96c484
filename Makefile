# Each target sets up what it needs: its own virtual environment, the package, the tools.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types unit overhead docs clean

help:            ## list the targets
	@grep -hE '^[a-z-]+: *.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(BIN)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@

$(BIN)/.installed-docs: $(BIN)/.installed
	$(BIN)/pip install --quiet --editable ".[docs]"
	@touch $@

setup: $(BIN)/.installed-dev ## make the virtual environment with everything for development

demo: $(BIN)/.installed ## fine-tune on the embedded digits, compare the methods, write a report (3 minutes)
	$(BIN)/holdfast demo --out demo

test: lint types unit ## lint, types and all tests (20 minutes on two cores)

lint: $(BIN)/.installed-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(BIN)/.installed-dev ## mypy, strict
	$(BIN)/mypy

unit: $(BIN)/.installed-dev ## the tests alone
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

overhead: $(BIN)/.installed-dev ## step time and memory of each method relative to plain fine-tuning
	$(BIN)/python benchmarks/overhead.py --group basic

docs: $(BIN)/.installed-docs ## the documentation site in site/; a warning fails it
	$(BIN)/mkdocs build --strict

clean:           ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist site
