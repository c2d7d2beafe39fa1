# One door for everything: `make demo`, `make test`, and what a change needs before it is committed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
SEED   ?= 1
QUIET  := --quiet --disable-pip-version-check
WANTED := -c .ci/constraints.txt -e '.[dev]'

# Runs and tests start some hundred processes: none compiles what another one has compiled, wherever an image forbids it.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint format bench clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv and install everything, with its pinned versions

$(READY): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed and $(PYTHON) is %d.%d; name another one with: make setup PYTHON=python3.12" % sys.version_info[:2])'
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV); \
	else \
	  $(PYTHON) -m venv $(VENV) && { $(BIN)/python -m pip install $(QUIET) -c .ci/constraints.txt uv || true; }; \
	fi
	@# pip takes two minutes of a core for what uv does in 20 s; it is there for machines that uv is not made for.
	@PATH="$$PATH:$$PWD/$(BIN)" uv pip install --quiet --compile-bytecode --python $(BIN)/python $(WANTED) || \
	  $(BIN)/python -m pip install $(QUIET) $(WANTED)
	@touch $@

demo: $(READY)  ## the six scenarios against both profiles of the reference agent, and one report of both
	@$(BIN)/harness run --target reference_agent/target.toml --variant documented --variant hardened \
	  --expected --name demo --seed $(SEED)

test: $(READY)  ## every test: three at a time, then the campaigns by themselves, because they keep time
	@# Many tests wait for processes of their own, so that three keep two cores busy.
	@$(BIN)/python -m pytest -q -n 3 --dist loadgroup tests --ignore tests/e2e/campaign --ignore tests/bench
	@$(BIN)/python -m pytest -q tests/e2e/campaign

check: lint  ## format, lint, types, unit and repository tests: before every commit
	@$(BIN)/python -m pytest -q -n 2 tests/unit tests/repo

lint: $(READY)  ## format, lint and types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy --num-workers 2

format: $(READY)  ## rewrite the code the way `make check` wants it
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(READY)  ## how fast and how large, measured side by side; not part of any verdict
	@$(BIN)/python -m tests.bench

clean:  ## remove what setup and runs have made
	@rm -rf $(VENV) runs build *.egg-info .mypy_cache .pytest_cache .ruff_cache
