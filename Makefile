# Every target prepares what it needs; nothing else has to be run first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run demo test bench migrate

run: .venv/run.stamp
	@$(BIN)/market-pipeline run

demo: .venv/run.stamp
	@$(BIN)/market-pipeline demo

migrate: .venv/run.stamp
	@$(BIN)/market-pipeline migrate

test: .venv/test.stamp
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term

bench: .venv/test.stamp
	$(BIN)/python -m benchmarks

.venv/run.stamp: pyproject.toml constraints.txt
	@echo "Installing into .venv; the first time this takes a minute or two."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/test.stamp: .venv/run.stamp
	@echo "Installing what the tests need."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@
