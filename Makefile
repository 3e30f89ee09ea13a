# `make demo` and `make test` work from a clean clone; nothing is installed outside .venv but missing system packages (as root).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs venv locked constraints clean

BIN := .venv/bin
WORKERS ?= 2
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

help:
	@echo "make demo         a synthetic study in ./demo, run from slides to report"
	@echo "make test         lint, types and tests"
	@echo "make lint         ruff and mypy only"
	@echo "make format       let ruff correct what it can"
	@echo "make docs         write the reference pages of docs/ again from the code, and build the pages in build/docs"
	@echo "make venv         the virtual environment .venv, with what development needs"
	@echo "make locked       the same from locked.txt: every file is compared with its sha256 (Linux)"
	@echo "make constraints  resolve every dependency anew and pin it in constraints.txt and locked.txt"
	@echo "make clean        remove .venv, demo and caches"
	@echo "PYTHON=/path/to/python3 chooses the Python (3.11 or newer); WORKERS=4 the number of test processes"

$(BIN)/python:
	@python=$$(.ci/system-packages python) && echo "Making .venv with $$python" && "$$python" -m venv .venv

# Two stamps, so that `make demo` does not wait for the test tools.
.venv/stamp-run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing sevhisto and its pinned dependencies into .venv (a few minutes the first time)"
	@$(PIP_INSTALL) -e '.[formats]'
	@touch $@

.venv/stamp-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing sevhisto, its pinned dependencies and the test tools into .venv (a few minutes the first time)"
	@$(PIP_INSTALL) -e '.[test]'
	@touch .venv/stamp-run $@

venv: .venv/stamp-test

# The same environment, in which no file can be another than the one that was tested: pip compares each with its sha256.
locked: | $(BIN)/python
	@echo "Installing pinned dependencies, each compared with its sha256, and sevhisto into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locked.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check
	@touch .venv/stamp-run .venv/stamp-test .venv/stamp-docs

demo: .venv/stamp-run
	$(BIN)/sevhisto demo demo

lint: .venv/stamp-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/stamp-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/stamp-docs: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing sevhisto and what builds the documents into .venv"
	@$(PIP_INSTALL) -e '.[docs]'
	@touch $@

docs: .venv/stamp-docs
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "Open build/docs/index.html"

# Without a screen the tests run under Xvfb; where that is missing too, those marked `gui` are left out, and it is said.
test: lint
	@if [ -n "$$DISPLAY" ] || [ "$$(uname -s)" != Linux ]; then \
	    set -x; $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder; \
	elif .ci/system-packages display; then \
	    set -x; xvfb-run -a $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder; \
	else \
	    echo "No display and no Xvfb: the GUI tests are left out."; \
	    set -x; $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not gui"; \
	fi

# Pins what a fresh environment resolves to, with the viewer and everything optional: one set for users, tests and GUI; then asks for the
# sha256 of every file of these versions.
constraints:
	@rm -rf build/constraints && mkdir -p build
	@python=$$(.ci/system-packages python) && "$$python" -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --disable-pip-version-check '.[all,docs,test]' hatchling editables
	@{ echo "# Versions that were tested together. Written by 'make constraints'; do not edit."; \
	   build/constraints/bin/python -m pip freeze --exclude sevhisto | grep -E '^[A-Za-z0-9._-]+==' | LC_ALL=C sort -f; } > build/constraints.txt
	@build/constraints/bin/python -m pip check && mv build/constraints.txt constraints.txt
	build/constraints/bin/python -m pip install --quiet --disable-pip-version-check uv
	@{ echo "# The same versions with the sha256 of their files. Written by 'make constraints'; do not edit."; \
	   build/constraints/bin/uv pip compile --quiet --no-deps --generate-hashes --no-annotate --no-header constraints.txt; } > build/locked.txt
	@mv build/locked.txt locked.txt && rm -rf build/constraints
	@git diff --stat -- constraints.txt locked.txt

clean:
	rm -rf .venv demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
