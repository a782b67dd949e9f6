PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test test-long lint bench peers

demo: .venv/installed
	$(BIN)/python examples/rebalance_table.py
	$(BIN)/python examples/rebalance_images.py

# one thread: the tests' networks are small, and threads that share busy cores wait for each other
test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

# minutes of faults: kills, fuzzing, generated data; benchmarks/RELIABILITY.md has the counts
test-long: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# hours; BENCH=quick: minutes. BENCH="--groups adult --adult FOLDER --device cuda" and so on: python benchmarks/speed --help.
# CTGAN and TVAE are in it once `make peers` has been run
BENCH ?=
PEERS := .venv-peers/bin/python
bench: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed $(if $(wildcard $(PEERS)),--peers $(PEERS)) $(BENCH:quick=--quick)

# an environment of their own: CTGAN is not open source, and nothing here depends on it
peers:
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip install --quiet ctgan imbalanced-learn pyarrow

# torch and torchvision are resolved together: a torchvision built for another torch does not import
.venv/installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[all,test,lint]"
	touch $@
