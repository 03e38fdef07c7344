# PYTHON picks the interpreter that .venv is made from, e.g. make run PYTHON=python3.12
PYTHON ?= python3
VENV = .venv/bin/python
COMPILE = $(VENV) -m uv pip compile --quiet

.DEFAULT_GOAL := help
.PHONY: help run dev test test-fast soak lint lock bench

help: ## show these commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /make \1|/' \
		| awk -F'|' '{printf "%-15s %s\n", $$1, $$2}'

# Only FOLDER=… after make is meant, not a variable of the environment.
SOURCE = $(if $(filter command,$(origin FOLDER)),--folder "$(FOLDER)")

run: ## start laionweb, with the images of FOLDER=/path or an example
	@$(PYTHON) bootstrap.py
	@exec $(VENV) manage.py serve $(SOURCE)

dev: ## start all services of production on this machine
	@$(PYTHON) bootstrap.py dev services
	@exec $(VENV) deploy/dev.py

# Tests start hundreds of processes; without bytecode each compiles all modules anew.
test test-fast soak: export PYTHONDONTWRITEBYTECODE =

test: lint ## run ruff, mypy and all tests
	@$(PYTHON) bootstrap.py dev services tools
	@$(VENV) -m pytest --numprocesses 3 --dist loadfile

test-fast: ## run the tests that need no other program and no model, within a minute
	@$(VENV) -c 'import pytest, xdist' 2> /dev/null \
		|| { echo "make test-fast needs pytest in .venv: run make lint first."; exit 1; }
	@$(VENV) -m pytest --fast --numprocesses 2 --dist loadfile --quiet

soak: lint ## run the long tests: kill processes many times, run small benchmarks
	@$(PYTHON) bootstrap.py dev services tools
	@$(VENV) -m pytest -m soak -rP

lint: ## run ruff and mypy
	@$(PYTHON) bootstrap.py dev
	@$(VENV) -m ruff check --quiet .
	@$(VENV) -m ruff format --check --quiet .
	@$(VENV) -m mypy --no-error-summary

lock: ## write requirements*.txt anew from requirements*.in
	@$(PYTHON) bootstrap.py dev
	@$(COMPILE) requirements.in --output-file requirements.txt
	@$(COMPILE) requirements-dev.in --output-file requirements-dev.txt \
		--constraints requirements.txt
	@$(COMPILE) requirements-tools.in --output-file requirements-tools.txt --no-deps

bench: ## measure what the documentation states
	@$(PYTHON) bootstrap.py
	@for script in $(sort $(wildcard benchmarks/*.py)); do \
		$(VENV) $$script || exit 1; done
