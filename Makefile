# Everything runs inside .venv; `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs
PYTHONS ?= 3.12 3.13
QUICKSTART := results/local
# A process for each core, at most four, and each on one thread; a file's tests stay together.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# Installed anew whenever what is pinned changes. torch goes first: everything else then finds its
# requirement met instead of asking for another build of it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Building the site reads the code without importing it, so it needs neither torch nor the harness.
$(DOCS_STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt mkdocstrings-python zensical
	touch $@

.PHONY: install
install: $(STAMP) ## make .venv with the pinned packages

.PHONY: quickstart
quickstart: $(STAMP) ## train, attack and corrupt two models on the embedded dataset, then report
	$(BIN)/bench run --models medvit3d_t,resnet3d_18 --attacks pgd \
		--artefacts motion,bias_field,ghosting --out $(QUICKSTART)
	$(BIN)/bench report $(QUICKSTART)

.PHONY: test
test: $(STAMP) ## run the tests: offline, on the CPU, some minutes
	$(PYTEST)

.PHONY: test-slow
test-slow: $(STAMP) ## run the long tests too
	$(BIN)/python -m pytest -q -m 'not browser'

.PHONY: test-browser
test-browser: $(STAMP) ## install a browser where apt can, and run the tests that open a report in it
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[browser]'
	@missing=; command -v chromium >/dev/null || missing=chromium; \
	command -v pdftotext >/dev/null || missing="$$missing poppler-utils"; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $$missing; \
	else echo "install $$missing first, on Debian: sudo apt-get install $$missing"; exit 1; fi
	$(BIN)/python -m pytest -q -m browser

.PHONY: test-ray
test-ray: $(STAMP) ## install Ray too, and run the tests of the engine on it
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	$(BIN)/python -m pytest -q tests/run/engines/test_ray.py

# Each Python gets an environment of its own; uv fetches an interpreter that is not there.
.PHONY: test-pythons
test-pythons: ## run the tests on the other Pythons of pyproject.toml, where uv has them
	@command -v uv >/dev/null || { echo "skipped: uv is not installed; pip install uv"; exit 0; }; \
	for version in $(PYTHONS); do \
		uv python find --quiet $$version >/dev/null || uv python install --quiet $$version || \
			{ echo "skipped: uv finds no Python $$version"; continue; }; \
		uv venv --quiet --clear --python $$version .venv-$$version && \
		uv pip install --quiet --python .venv-$$version --constraint constraints.txt torch && \
		uv pip install --quiet --python .venv-$$version --constraint constraints.txt \
			--editable '.[dev]' || { echo "skipped: no packages for Python $$version"; continue; }; \
		.venv-$$version/bin/python -m pytest -q || exit 1; \
	done

.PHONY: results
results: $(STAMP) ## measure what results/medmnist3d lacks: days on a CPU, to be stopped at any time
	$(BIN)/python -m tests.results run

.PHONY: gate
gate: $(STAMP) ## hold the models of docs/ci/bench.toml against the committed baseline
	rm -rf results/ci/records.jsonl results/ci/predictions
	$(BIN)/bench ci --config docs/ci/bench.toml --baseline results/baseline/phantom3d.zip \
		--out results/ci --tolerance 0.15 --max-minutes 20

.PHONY: check
check: $(STAMP) ## lint, format, types, import contracts and the documentation's links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.docs.site

.PHONY: docs
docs: $(DOCS_STAMP) ## build the documentation into site/, to be opened from disk
	$(BIN)/python -m tests.docs.site

.PHONY: format
format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(STAMP) ## compare speeds, as ratios within one process
	$(BIN)/python -m tests.performance

.PHONY: clean
clean: ## remove .venv, caches and the built site; results stay
	rm -rf $(VENV) $(PYTHONS:%=$(VENV)-%) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .cache build site *.egg-info
