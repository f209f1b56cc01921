# `make` alone explains itself. The environment is set up when it is missing or older than what it is made from.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
REFERENCES := $(VENV)/.references
LOCKS := requirements/build.lock requirements/dev.lock requirements/tools.lock
PIP := python -m pip --disable-pip-version-check --quiet
# uv and pip-audit, in an environment that nothing else sees.
TOOLS := $(VENV)-tools
UV := $(TOOLS)/bin/uv pip compile --quiet --no-progress
# As metarun sets it for itself: threads that wait for each other do not spin for long.
IN_COMPANY := GOMP_SPINCOUNT=10000
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8

# Real data beside the checkout, where there are any; without them the tests that need real data are skipped.
ifndef METARUN_MIRROR
ifneq ($(wildcard ../shared/data),)
export METARUN_MIRROR := $(abspath ../shared/data)
endif
endif

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-slow test-clusters test-all lint check bench bench-short bench-scale lock audit clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(INSTALLED)  ## set up where needed, meta-train MAML and ProtoNet on built-in data, compare them
	$(BIN)/metarun train algo=maml
	$(BIN)/metarun train algo=protonet
	$(BIN)/metarun compare

test: $(REFERENCES)  ## set up where needed, then the tests that take seconds
	$(PYTEST) -m "not slow and not cluster"
	@$(MAKE) --no-print-directory what-did-not-run

test-fast: $(INSTALLED)  ## the quickest of them, within a minute; no whole commands, no learn2learn or easyfsl
	$(PYTEST) -m "not (slow or cluster or command or peers or cross)"

test-slow: $(REFERENCES)  ## the tests that take longer
	$(PYTEST) -m slow

test-clusters: $(REFERENCES)  ## sweeps on a Slurm and a Ray that are started on this machine for them; needs root
	scripts/install_slurm.sh
	$(BIN)/$(PIP) install -c constraints.txt -e '.[ray]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests/clusters

test-all: test test-slow  ## every test

lint: $(INSTALLED)  ## style, types, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## lint and test: what a change has to pass

bench: $(REFERENCES)  ## speed beside learn2learn and easyfsl, every case, a quarter of an hour: docs/performance.md
	$(IN_COMPANY) $(BIN)/python -m scripts.bench $(BENCH)

bench-short: $(REFERENCES)  ## the same with small sizes, in minutes; fails where a peer is faster
	$(IN_COMPANY) $(BIN)/python -m scripts.bench --short $(BENCH)

bench-scale: $(INSTALLED)  ## how time and memory grow with way, shot, steps, meta-batch, classes, images
	$(IN_COMPANY) $(BIN)/python -m scripts.bench_scale

.PHONY: faults fuzz soak
faults: $(REFERENCES)  ## kills, full disks, lost rights, no locks, damaged files, tried for real in minutes: docs/reliability.md
	$(PYTEST) -rP tests/faults

fuzz: export FUZZ_INPUTS ?= 10000
fuzz: $(REFERENCES)  ## bad input of every kind, other inputs every time, in minutes; FUZZ_INPUTS=50000 for more: docs/reliability.md
	$(PYTEST) -m slow --timeout 3600 tests/fuzz

soak: $(INSTALLED)  ## two hours of sweeps under random kills, memory and open files watched; SOAK="--minutes 1" to try it
	$(BIN)/python -m scripts.soak $(SOAK)

lock: $(TOOLS)/.installed  ## renew requirements/*.lock: the newest that pyproject.toml allows, with hashes
	$(UV) --upgrade --group build -o requirements/build.lock
	$(UV) --upgrade --group tools -o requirements/tools.lock
	$(UV) --upgrade pyproject.toml --extra dev -c constraints.txt -c requirements/build.lock -o requirements/dev.lock

audit: $(TOOLS)/.installed  ## ask for known vulnerabilities in what is locked; needs the network
	$(TOOLS)/bin/python -m scripts.audit $(LOCKS) constraints.txt

clean:  ## remove the environment, caches and builds; results/ stays
	rm -rf $(VENV) $(TOOLS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find metarun tests scripts -name __pycache__ -prune -exec rm -rf {} +

.PHONY: what-did-not-run
what-did-not-run:
	@[ -n "$$METARUN_MIRROR" ] || printf '%s\n' \
	  '*** The tests on real Omniglot and Caltech-101 did NOT run: METARUN_MIRROR is not set.' \
	  '*** Set it to a folder that holds omniglot/images_background.zip, omniglot/images_evaluation.zip and caltech101/caltech101_84x84.zip.'

# Everything is checked against the hashes of its lock; what comes as source is built by what was checked before it.
# torch alone has a version and no hash: see constraints.txt.
$(INSTALLED): pyproject.toml constraints.txt requirements/build.lock requirements/dev.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "metarun needs Python 3.11 or newer and $(PYTHON) is %d.%d; name a newer one, e.g. make PYTHON=python3.12" % v[:2])'
	@echo "Setting up $(VENV); the first time this takes minutes, most of them torch."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) install --require-hashes -r requirements/build.lock
	$(BIN)/$(PIP) install --require-hashes --no-build-isolation -r requirements/dev.lock
	$(BIN)/$(PIP) install -c constraints.txt torch
	$(BIN)/$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(REFERENCES): $(INSTALLED) scripts/install_learn2learn.sh scripts/install_easyfsl.sh
	scripts/install_learn2learn.sh $(VENV)
	scripts/install_easyfsl.sh $(VENV)
	@touch $@

$(TOOLS)/.installed: requirements/tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/$(PIP) install --require-hashes -r requirements/tools.lock
	@touch $@
