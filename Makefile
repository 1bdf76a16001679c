# Every target prepares what it needs; nothing else has to be run first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run demo api test audit bench bench-anomalies faults migrate backfill doctor chart

run: .venv/run.stamp
	@$(BIN)/market-pipeline run

demo: .venv/run.stamp
	@$(BIN)/market-pipeline demo

# The HTTP API and its page on http://127.0.0.1:8000; `make run` serves them, too.
api: .venv/run.stamp
	@$(BIN)/market-pipeline serve

migrate: .venv/run.stamp
	@$(BIN)/market-pipeline migrate

# make backfill DAYS=30, or FROM=2026-01-01 TO=2026-06-30 [SYMBOLS=BTC,ETH] [DRY_RUN=1] [AGAIN=1] [YES=1]
backfill: .venv/run.stamp
	@test -n '$(DAYS)$(FROM)' || { echo 'make backfill: add DAYS=30, or FROM=2026-01-01 TO=2026-06-30' >&2; exit 2; }
	@$(BIN)/market-pipeline backfill $(if $(DAYS),--days '$(DAYS)') $(if $(FROM),--from '$(FROM)') \
		$(if $(TO),--to '$(TO)') $(if $(SYMBOLS),--symbols '$(SYMBOLS)') $(if $(DRY_RUN),--dry-run) $(if $(AGAIN),--again) $(if $(YES),--yes)

# make chart SYMBOL=BTC, or SYMBOL=BTC FROM=2026-10-01 TO=2026-10-08 OUT=chart.png
chart: .venv/run.stamp
	@test -n '$(SYMBOL)' || { echo 'make chart: add SYMBOL=BTC' >&2; exit 2; }
	@$(BIN)/market-pipeline chart '$(SYMBOL)' \
		$(if $(FROM),--from '$(FROM)') $(if $(TO),--to '$(TO)') $(if $(OUT),--out '$(OUT)')

doctor: .venv/run.stamp
	@$(BIN)/market-pipeline doctor

# Coverage costs nothing from Python 3.12 on, and as much as the tests themselves before: there with COVERAGE=1 only.
test: .venv/test.stamp
	$(BIN)/ruff check
	$(BIN)/deptry . --no-ansi
	$(BIN)/mypy
	@monitoring=$$($(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "")'); set -x; \
	COVERAGE_CORE=$$monitoring $(BIN)/pytest -n auto --dist worksteal \
		$$([ -z "$${monitoring}$(COVERAGE)" ] || echo --cov --cov-report=term)

# Known vulnerabilities of the versions in constraints.txt; needs a package index that has advisories.
audit: .venv/test.stamp
	@$(BIN)/python .ci/audit.py

bench: .venv/test.stamp
	$(BIN)/python -m benchmarks

# make faults [ONLY="kills soak"] [QUICK=1]: the promises of docs/reliability.md, under real faults; an hour or more
faults: .venv/test.stamp
	$(BIN)/python -m faults $(ONLY) $(if $(QUICK),--quick)

# make bench-anomalies [ONLY="alarms"] [QUICK=1]: the detectors beside others; writes docs/anomaly-benchmark.md
bench-anomalies: .venv/bench.stamp
	$(BIN)/python -m benchmarks.anomalies $(ONLY) $(if $(QUICK),--quick)

.venv/run.stamp: pyproject.toml constraints.txt
	@echo "Installing into .venv; the first time this takes a minute or two."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/bench.stamp: .venv/run.stamp
	@echo "Installing what the benchmark compares with."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

.venv/test.stamp: .venv/run.stamp
	@echo "Installing what the tests need."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@
