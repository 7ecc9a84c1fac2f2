.DEFAULT_GOAL := help
.PHONY: help install demo test lint docs bench clean

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

help:  ## this list
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: $(INSTALLED)  ## make .venv and install everything (PYTHON=python3.12 chooses another Python)

$(INSTALLED): requirements.txt requirements-nodeps.txt setup.py prosona_jax/__init__.py
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make install PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -r requirements.txt
	$(RUN) -m pip install --no-deps -r requirements-nodeps.txt
	$(RUN) -m pip install --no-deps -e .
	@touch $@

demo: install  ## train on the CPU in minutes; the report is runs/demo/report/report.html
	$(RUN) -m prosona_jax.main --config=configs/lidc.py:demo --workdir=runs/demo

test: lint docs  ## lint, the pages, then all tests
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install  ## style, format and types
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

docs: install  ## build the pages of docs/; they start at build/docs/index.html
	$(RUN) -m sphinx -W --keep-going -q -b html docs build/docs

bench: install  ## print the tables of benchmarks/
	@set -e; for name in metrics training sampling predicting preparing; do $(RUN) -m benchmarks.$$name; echo; done

clean:  ## remove .venv, caches and builds; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .jax_cache .pytest_cache .ruff_cache .mypy_cache
