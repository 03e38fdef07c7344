# PYTHON picks the interpreter that .venv is made from, e.g. make run PYTHON=python3.12
PYTHON ?= python3
VENV = .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help run dev test soak lint bench

help: ## show these commands
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /make \1|/' \
		| awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'

run: ## start laionweb; the first time it installs what it needs
	@$(PYTHON) bootstrap.py
	@exec $(VENV) manage.py serve

dev: ## start all services of production on this machine
	@$(PYTHON) bootstrap.py --dev
	@exec $(VENV) deploy/dev.py

test: lint ## run ruff, mypy and all tests
	@$(VENV) -m pytest --numprocesses 2 --dist loadfile

soak: lint ## run the long tests: what is killed many times, benchmarks in small
	@$(VENV) -m pytest -m soak -rP

lint: ## run ruff and mypy alone
	@$(PYTHON) bootstrap.py --dev
	@$(VENV) -m ruff check --quiet .
	@$(VENV) -m ruff format --check --quiet .
	@$(VENV) -m mypy --no-error-summary

bench: ## measure what the README states
	@$(PYTHON) bootstrap.py
	@for script in $(sort $(wildcard benchmarks/*.py)); do \
		$(VENV) $$script || exit 1; done
