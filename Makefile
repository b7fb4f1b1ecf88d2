# Commands for development, in one virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STEPS ?= 500
PYTEST_ARGS ?=

EXTRAS := slurm,ray,plots,tensorboard,wandb

.PHONY: train test test-extras faults check format completions screenshots clean

train: $(VENV)/installed
	$(BIN)/nanochat-tui --no-ui train --steps $(STEPS)

# Bytecode is kept even if the environment forbids it: hundreds of processes would compile every module again.
test: $(VENV)/installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

# Runs the tests of extras. A test whose package is missing fails instead of being skipped.
test-extras: $(VENV)/installed-extras
	$(BIN)/python -m pytest -n auto -m extras --extras

# The fault campaign: `make faults PART=kills N=200`. Without N, each part runs its full number of cases, times SCALE.
faults: $(VENV)/installed-dev
	PYTHONPATH=tests $(BIN)/python -m faults $(if $(PART),--part $(PART)) $(if $(N),--cases $(N)) $(if $(SEED),--seed $(SEED)) $(if $(SCALE),--scale $(SCALE)) $(if $(RESULTS),--results $(RESULTS))

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/check_pins.py
	$(BIN)/python tools/check_language.py

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The shell completions in completions/, after a change of commands or settings.
completions: $(VENV)/installed-dev
	$(BIN)/python tools/completions.py

# The pictures in docs/screenshots/, after a change of screens.
screenshots: $(VENV)/installed-dev
	$(BIN)/python docs/screenshots.py

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nanochat-tui needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/installed-extras: $(VENV)/installed-dev
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,$(EXTRAS)]' || \
		{ echo "make test-extras: the extras $(EXTRAS) cannot be installed. Check that the package index is reachable." >&2; exit 1; }
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
