# Everything here sets itself up: a virtual environment in .venv, and the package in it.

VENV ?= .venv
PYTHON ?= python3
MODEL ?= --recommended
CODE ?= code
SESSIONS ?= 10000
NEXT_EDITS ?= 100000
PARSE_SECONDS ?= 30
WORKERS ?= 2
COVERAGE ?=
# Percent of lines and branches, rounded: that of 29 November 2026. Raise it when the figure has risen.
LEAST_COVERED := 94
CONSTRAINTS ?= constraints/newest.txt
PYTHONS ?= python3 python3.13 python3.12 python3.11
BIN := $(VENV)/bin
DEV = $(BIN)/python -m palimpsest_dev --venv $(VENV) --constraints $(CONSTRAINTS)
RECORD = $(BIN)/palimpsest canvas record
# pytest-timeout fires once a test: one that then hangs in its own handlers ends the run, with the stacks of all threads.
NO_HANG = -o faulthandler_timeout=900 -o faulthandler_exit_on_timeout=true

.PHONY: help demo vscode test test-oldest test-coder test-team test-editors bench-editors bench-canvas canvas replays \
    fuzz soak lint docs bench constraints clean test-quick coverage dist dist-try packages licences parts \
    extension release-check test-docs images-try docs-publish
.DELETE_ON_ERROR:

help:
	@echo "make demo   fetch the recommended model (491 MB on CPUs), fill five holes of a file, and watch; MODEL=embedded fetches nothing"
	@echo "make vscode build the extension for VS Code and install it with CODE=code; needs Node 20 or later"
	@echo "make test   run every test"
	@echo "make test-quick     run some tests that need no model, in about a minute"
	@echo "make coverage   run every test and say which lines they ran; COVERAGE='tests/server' for some of them"
	@echo "make test-oldest    run the tests of everything that knows a tensor with the oldest libraries that are allowed"
	@echo "make test-coder     fill with the 0.5B model for real; fetches it the first time (0.5 GB)"
	@echo "make test-team      run a team's service with Ray Serve on this machine, and break it; fetches Ray the first time (0.2 GB)"
	@echo "make test-docs      run every command that stands on a page, in scratch folders; some minutes"
	@echo "make test-editors   drive VS Code, Neovim and Emacs for real; fetches them the first time (1 GB, some minutes)"
	@echo "make bench-editors  from the keystroke to the ghost text on the screen"
	@echo "make bench-canvas   from the key to the first painted step on the canvas page"
	@echo "make replays    record the fills of docs/replays anew; needs the 0.5B model"
	@echo "make canvas build the page of palimpsest canvas anew from its sources; needs Node 20 or later"
	@echo "make fuzz   hostile texts for every grammar, then ten thousand sessions at random, and a hundred thousand of next edits; takes an hour or more"
	@echo "make soak   an hour of typing, replayed, and what it leaves in memory; takes some minutes"
	@echo "make lint   ruff, mypy and import-linter"
	@echo "make docs   build the documentation site into build/site; warnings are errors"
	@echo "make docs-publish VERSION=0.1   put the site into the branch gh-pages, beside its other versions; pushes nothing"
	@echo "make bench  measure what a keystroke costs on this machine"
	@echo "make dist   build what a release has, into dist/: wheel, source distribution, list of parts, extension for VS Code; needs Node 20 or later"
	@echo "make dist-try       install the wheel from dist/ with PYTHON=python3 into an environment of its own, and use it"
	@echo "make release-check  install what is in dist/ as a user would, and see it suggest in VS Code, Neovim, Emacs and Helix; takes some minutes"
	@echo "make images-try     build an image with buildah and run it with podman, as root; docs/containers.md says how without a registry"
	@echo "make licences       write the table of docs/licences.md anew"
	@echo "make constraints    resolve the oldest and the newest libraries that are allowed, anew"
	@echo "make clean  take the virtual environment away"

# The command lines of demo, test, test-quick, test-oldest, test-coder and lint stand in palimpsest_dev/, which needs no Make.
demo: $(BIN)/python
	@$(DEV) demo --model=$(MODEL)

vscode:
	cd editors/vscode && npm ci --no-audit --no-fund && npm run package
	$(CODE) --install-extension editors/vscode/palimpsest.vsix
	@echo "Next: open a folder and a Python file in it. In this folder, answer: Use .venv/bin/palimpsest of this folder."

bench: $(VENV)/installed
	@$(BIN)/palimpsest bench

test: $(BIN)/python
	$(DEV) test --workers $(WORKERS)

test-quick: $(BIN)/python
	$(DEV) test-quick --workers $(WORKERS)

coverage: $(VENV)/installed-dev
	mkdir -p build
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report= $(COVERAGE)
	$(BIN)/python -m coverage report --format=markdown >build/coverage.md
	@tail -n 1 build/coverage.md
	$(BIN)/python -m coverage report --format=total --fail-under=$(if $(COVERAGE),0,$(LEAST_COVERED))

test-oldest: $(BIN)/python
	$(DEV) test-oldest --workers $(WORKERS)

test-coder: $(BIN)/python
	$(DEV) test-coder

test-team: $(VENV)/installed-team
	$(BIN)/python -m pytest -m team tests/team

test-docs: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m docs tests/docs

test-editors: $(VENV)/installed-editors
	$(BIN)/python -m pytest --timeout 600 $(NO_HANG) -m editors tests/editors

bench-editors: $(VENV)/installed-editors
	$(BIN)/python tests/editors/bench.py

bench-canvas: $(VENV)/installed-editors
	$(BIN)/python tests/editors/bench_canvas.py

replays: $(VENV)/installed
	$(RECORD) fixtures/canvas/interval.py --range 5:7 --strength 0.6 --model qwen2.5-coder-0.5b --beside -o docs/replays/interval.html
	$(RECORD) fixtures/canvas/interval.py --range 5:7 --strength 0.6 --model qwen2.5-coder-0.5b -o docs/images/canvas.svg
	$(RECORD) fixtures/canvas/settings.py --range 10:11 --strength 0.9 --model qwen2.5-coder-0.5b -o docs/replays/settings.html
	$(RECORD) fixtures/canvas/number.py --model embedded --seed 1 --beside -o docs/replays/number.html

canvas:
	cd server/palimpsest_canvas/web && npm ci --no-audit --no-fund && npm run check && npm run build

fuzz: $(VENV)/installed-dev
	PALIMPSEST_PARSE_SECONDS=$(PARSE_SECONDS) $(BIN)/python -m pytest -n 2 tests/engine/syntax/test_fuzz.py
	PALIMPSEST_SESSIONS=$(SESSIONS) $(BIN)/python -m pytest tests/server/test_stateful.py
	PALIMPSEST_ANSWERS=10000 $(BIN)/python -m pytest --timeout 3000 tests/engine/prompt/test_instruct_answers.py
	PALIMPSEST_NEXT_EDITS=0:$(NEXT_EDITS) $(BIN)/python -m pytest tests/server/test_next_edits_at_random.py

soak: $(VENV)/installed-dev
	$(BIN)/python -m pytest --timeout 3600 -m slow

lint: $(BIN)/python
	$(DEV) lint
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run deploy/stand-in release/try; else echo "shellcheck is not installed here"; fi

docs: $(VENV)/installed-docs
	@# Not --quiet: it drops warnings before --strict counts them.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-publish: docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python release/docs.py $(VERSION)
	@echo "Next: git push origin gh-pages"

constraints: $(BIN)/python
	$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'
	for set in lowest-direct:oldest highest:newest; do \
	    $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade --no-annotate --no-header \
	        --resolution $${set%:*} pyproject.toml --output-file constraints/$${set#*:}.txt || exit; \
	done

# The packages of Python alone: no network, no Node. dist/ has nothing else in it afterwards.
packages: $(VENV)/installed-dev
	rm -rf dist
	$(BIN)/python release/packages.py dist

parts: $(VENV)/installed-release
	$(BIN)/python release/parts.py dist

extension: $(BIN)/python
	cd editors/vscode && npm ci --no-audit --no-fund
	$(BIN)/python release/extension.py dist

dist: packages
	$(MAKE) parts extension
	ls -l dist

dist-try:
	release/try $(PYTHON) $(CONSTRAINTS)

# With what is in dist/ already; only what is missing is built.
release-check: $(VENV)/installed-editors
	@ls dist/*.whl >/dev/null 2>&1 || $(MAKE) packages
	@ls dist/*.cdx.json >/dev/null 2>&1 || $(MAKE) parts
	@ls dist/*.vsix >/dev/null 2>&1 || $(MAKE) extension
	$(BIN)/python -m pytest --timeout 600 $(NO_HANG) -m release tests/editors

images-try: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m images tests/deploy

licences: $(VENV)/installed-dev
	$(BIN)/python release/dependencies.py

clean:
	rm -rf $(VENV) $(VENV)-oldest

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "Installing Palimpsest and its libraries into $(VENV), PyTorch among them: some minutes, the first time."
	$(BIN)/python -m pip install --disable-pip-version-check --constraint $(CONSTRAINTS) --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-release: pyproject.toml $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev,release]'
	@touch $@

$(VENV)/installed-editors: pyproject.toml $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev,editors]'
	@touch $@

$(VENV)/installed-team: pyproject.toml $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev,team]'
	@touch $@

$(BIN)/python:
	@for python in $(PYTHONS); do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	        "$$python" -m venv $(VENV); exit; \
	    fi; \
	done; \
	echo "make: no Python 3.11, 3.12 or 3.13 among $(PYTHONS); say where it is: make PYTHONS=/path/to/python" >&2; \
	exit 1
