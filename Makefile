PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test test-long lint bench

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

bench: .venv/installed
	$(BIN)/python benchmarks/speed.py

# torch and torchvision are resolved together: a torchvision built for another torch does not import
.venv/installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[all,test,lint]"
	touch $@
