# Two commands do it all on a fresh machine with Python 3.11 or newer: make run, make test.
# The system's own Python first: distributions optimise theirs, which makes a fifth of difference.
PYTHON ?= $(shell for p in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
export PYTHONDONTWRITEBYTECODE =

.PHONY: run stop test lint types tests bench docs clean

run: $(VENV)/.installed
	$(BIN)/python -m gatewayd.cli.sample etc var/etc
	$(BIN)/gatewayd -c var/etc foreground

test: lint types tests

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.tested
	$(BIN)/mypy

tests: $(VENV)/.tested
	$(BIN)/python -m pytest

bench: $(VENV)/.tested
	$(BIN)/python -m benchmarks --write docs/benchmarks.md

docs: $(VENV)/.installed
	$(BIN)/python -m gatewayd.config.document > docs/parameters.md

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
