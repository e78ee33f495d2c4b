# Onward. On a machine with Python 3.11+, pip and make, `make demo` and `make test` do everything that is needed:
# they create .venv once, install into it, and say what they are doing.

PYTHON ?= python3
TORCH ?= torch==2.13.0
DEMO ?=
LIVE ?= live
SERVE ?=
PYTEST ?=
BENCH ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq

.DEFAULT_GOAL := help
.PHONY: help install data demo live test test-all check format bench bench-small bench-peers clean

help:
	@echo "make demo       the whole path on MovieLens-100K: prepare, train, compare, recommend (about five minutes)"
	@echo "make live       the live page on MovieLens-100K: prepares what is missing (about a minute), then serves it"
	@echo "make test       the tests"
	@echo "make test-all   the tests with full counts, as CI runs them"
	@echo "make check      ruff, mypy --strict, the direction of imports"
	@echo "make bench      the benchmarks: the small ones, then Onward against its peers (bench-small, bench-peers)"
	@echo "make format     format the code"
	@echo "make install    only create .venv and install into it"
	@echo "make clean      remove .venv, .bench and what tools left behind"
	@echo ""
	@echo "PYTHON=python3.12   another interpreter (now: $(PYTHON))"
	@echo "TORCH='torch==X.Y'  another PyTorch, before .venv exists (now: $(TORCH))"
	@echo "PYTEST='-k split'   options for pytest ('-n 0': one test after the other, for --pdb)"
	@echo "DEMO='--quick'      options for the demo"
	@echo "LIVE=folder         where make live works        SERVE='--port 9000'  options of its server"
	@echo "BENCH='--data FILE' options for bench-peers (bench/README.md)"

install: $(STAMP)

# The stamp is written last: an installation that was interrupted has none, and starts anew.
$(STAMP): pyproject.toml requirements.lock hatch_build.py src/onward/native/build.py $(wildcard src/onward/native/*.cpp src/onward/native/*.h)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Onward needs Python 3.11 or newer, and '$(PYTHON)' is: $$($(PYTHON) --version 2>/dev/null || echo not there)"; \
	  echo "Name another one, for example: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@if [ -f $@ ]; then echo "==> Requirements changed: updating $(VENV)"; rm -f $@; \
	else echo "==> Creating $(VENV) with $$($(PYTHON) --version)"; rm -rf $(VENV); \
	  $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	    $(PYTHON) -m venv --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check install -qq pip; }; fi
	@echo "==> Installing $(TORCH) (the largest part; some minutes on a slow line)"
	@$(PIP) $(foreach word,$(TORCH),'$(word)')
	@echo "==> Installing the other packages of requirements.lock"
	@$(PIP) --requirement requirements.lock
	@echo "==> Installing onward"
	@$(PIP) --no-deps --editable .
	@touch $@
	@echo "==> Installed. The command is $(BIN)/onward"

# Tests open no connection, so the data set that they read is fetched before them; a second time it is only verified.
data: $(STAMP)
	@echo "==> Making sure that MovieLens-100K, which the tests read, is in the cache"
	@$(BIN)/onward data get ml-100k >/dev/null

demo: $(STAMP)
	@$(BIN)/onward demo $(DEMO)

# What is there already is kept: a folder appears under its name only when it is complete.
live: $(LIVE)/models/item-knn $(LIVE)/models/sasrec $(LIVE)/imported
	@echo "==> Serving; open the address below in a browser"
	@$(BIN)/onward serve $(LIVE)/models/sasrec --models $(LIVE)/models --store $(LIVE)/onward.db $(SERVE)

$(LIVE)/ml-100k: | $(STAMP)
	@echo "==> Fetching MovieLens-100K (GroupLens: free for research, no commercial use)"
	@$(BIN)/onward data get ml-100k -o $@ >/dev/null

$(LIVE)/dataset: | $(LIVE)/ml-100k
	@echo "==> Preparing it"
	@$(BIN)/onward prepare $(LIVE)/ml-100k -o $@ >/dev/null

$(LIVE)/models/%: | $(LIVE)/dataset
	@echo "==> Training $*, measuring it, and writing its bundle"
	@$(BIN)/onward train $(LIVE)/dataset --model $* -o $(LIVE)/runs/$* --overwrite $(LIVE_$*)
	@$(BIN)/onward evaluate $(LIVE)/runs/$* >/dev/null
	@$(BIN)/onward export $(LIVE)/runs/$* -o $@ >/dev/null

$(LIVE)/imported: | $(LIVE)/dataset
	@$(BIN)/onward store import $(LIVE)/dataset --store $(LIVE)/onward.db
	@touch $@

LIVE_sasrec := --set model.max_length=50 --set train.epochs=12 --set train.validate_every=4 \
  --set train.batch_tokens=1024 --set train.learning_rate=2e-3

# Two files of tests at a time: a file stays with one process, whose servers and trained models its tests share.
PARALLEL := -n 2 --dist loadfile

test: data
	$(BIN)/python -m pytest $(PARALLEL) -m "not full" $(PYTEST)

test-all: data
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_import_direction.py

bench: bench-small bench-peers

bench-small: $(STAMP)
	$(BIN)/python bench/imports.py
	$(BIN)/python bench/prepare.py 1000000

# Each peer gets an environment of its own under .bench, made once.
bench-peers: $(STAMP)
	$(BIN)/python bench/peers/run.py --torch '$(TORCH)' $(BENCH)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
