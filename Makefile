# radiogal: `make` prints what there is. Everything runs in .venv, which is made from the hashed lock when absent or stale.
RUN ?= demo
SEED ?=
PROFILE ?= local
CORES ?=
TAG ?=
MINUTES ?= 60
FILES ?= 300
CASES ?= 10000
BENCH ?=
# What they hold is text: neither Make nor the shell reads it as words of its own
override RUN := $(value RUN)
override SEED := $(value SEED)
override PROFILE := $(value PROFILE)
override CORES := $(value CORES)
override TAG := $(value TAG)
override MINUTES := $(value MINUTES)
override FILES := $(value FILES)
override CASES := $(value CASES)
override BENCH := $(value BENCH)
export RUN SEED PROFILE CORES TAG MINUTES FILES CASES BENCH
PYTHON ?= python3
BIN := .venv/bin
# An environment made for a GPU stays so until GPU=0
GPU ?= $(if $(wildcard .venv/.made-gpu),1)
LOCK := requirements$(if $(filter 1,$(GPU)),-gpu).lock
STAMP := .venv/.made$(if $(filter 1,$(GPU)),-gpu)
WHEELS := --quiet --require-hashes --only-binary :all:
NOTEBOOKS ?= nbs/[0-9]*.ipynb

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help env run-all plan test test-all test-long faults soak corrupt fuzz licences lab figures report prepare keep package canary export refresh readme check front docs wheel bench lock clean
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE  # Every kernel would compile TensorFlow again: ten seconds each
ifneq ($(RADIOGAL_MIRROR),)
export RADIOGAL_MIRROR := $(if $(filter /%,$(firstword $(RADIOGAL_MIRROR))),,$(CURDIR)/)$(RADIOGAL_MIRROR)
endif

help:  ## Print what there is
	@echo "radiogal: make TARGET [RUN=demo] [SEED=1] [PROFILE=local] [CORES=2] [GPU=1]"
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf runs:; for file in config/*.toml; do file="$${file##*/}"; printf ' %s' "$${file%.toml}"; done; echo

ifneq ($(findstring :,$(CURDIR)),)
$(error $(CURDIR) has a ':' in its path, which separates the folders of PATH: move the clone to a path without one)
endif

# A half-made environment, which has no stamp, is made afresh: a package that was cut off while being written looks installed.
$(STAMP): $(LOCK) settings.ini setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "radiogal needs Python 3.11 to 3.13: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making the environment in .venv from $(LOCK) (once, half a minute where downloads are fast)"
	@$(PYTHON) -m venv $(if $(wildcard .venv/.made*),,--clear) .venv \
	  || { echo "python3 -m venv failed: on Debian, apt-get install python3-venv"; exit 1; }
	@rm -f .venv/.made*
	@{ awk '/^[^ ]/ {uv = /^uv==/} uv' $(LOCK) | $(BIN)/python -m pip install $(WHEELS) --requirement /dev/stdin \
	    && $(BIN)/uv pip sync --python $(BIN)/python $(WHEELS) $(LOCK) \
	    && $(BIN)/uv pip install --python $(BIN)/python --quiet --no-build-isolation --no-deps --editable .; } \
	  || { echo "uv did not install it (see above); pip does, in some minutes"; \
	    $(BIN)/python -m pip install $(WHEELS) --no-deps --requirement $(LOCK) \
	    && $(BIN)/python -m pip install --quiet --quiet --no-build-isolation --no-deps --editable .; }
	@touch $@

env: $(STAMP)  ## Make the environment in .venv, and nothing else

run-all: $(STAMP)  ## Scrape, prepare, train, transfer, plot: RUN=demo (simulated), or another file of config/
	@$(BIN)/radiogal run "$$RUN" $(if $(SEED),--seed "$$SEED") $(if $(CORES),--cores "$$CORES") --profile "$$PROFILE"

plan: $(STAMP)  ## Say which notebooks of RUN would be run now, and why
	@$(BIN)/radiogal plan "$$RUN" $(if $(SEED),--seed "$$SEED") $(if $(CORES),--cores "$$CORES") --profile "$$PROFILE"

figures: $(STAMP)  ## Redraw the report's figures from the existing (or kept) results of RUN, with PDF=1 for print too
	@$(BIN)/radiogal figures "$$RUN" $(if $(SEED),--seed "$$SEED") $(if $(PDF),--pdf)

report: $(STAMP)  ## Write the report of RUN as a document: one HTML page, and a PDF of it
	@$(BIN)/radiogal report "$$RUN" $(if $(SEED),--seed "$$SEED") $(if $(PDF),--pdf)

PYTEST = $(BIN)/python -m pytest $(if $(RADIOGAL_ARTEFACTS),--junit-xml=$(RADIOGAL_ARTEFACTS)/$@.xml)

test: $(STAMP)  ## Run every notebook's lessons and the quick tests, and compare the notebooks' pictures
	$(PYTEST) --numprocesses=2 --no-loadscope-reorder -m "not full and not fault"

test-all: test  ## The same, then faults, kills, browser, Slurm, real data and whole runs; write docs/faults.md
	$(PYTEST) --numprocesses=3 --no-loadscope-reorder -m "(full or fault) and not long" --fault-table=docs/faults.md

test-long: $(STAMP)  ## What takes minutes each: the blocks of code of every page, more whole runs, more of the browser
	$(PYTEST) -m long

faults: $(STAMP)  ## Run the fault suite and write docs/faults.md
	$(PYTEST) -m fault --fault-table=docs/faults.md

soak: $(STAMP)  ## Disturb scraping, runs and classification for MINUTES=60, compare with undisturbed ones; write docs/soak.md
	$(BIN)/python tests/soak.py --minutes "$$MINUTES" $(if $(SEED),--seed "$$SEED") docs/soak.md

corrupt: $(STAMP)  ## Corrupt FILES=300 files of runs and catalogues, and write what became of each kind to docs/corrupt.md
	$(BIN)/python tests/soak.py --files "$$FILES" $(if $(SEED),--seed "$$SEED") docs/corrupt.md

fuzz: $(STAMP)  ## Read CASES=10000 malformed files of each kind, and write how that ended to docs/fuzz.md
	$(BIN)/python tests/fuzz.py --cases "$$CASES" $(if $(SEED),--seed "$$SEED") docs/fuzz.md

licences: $(STAMP)  ## Write the licence of every package of the locks to docs/licences.md
	$(BIN)/python docs/licences.py

lab: $(STAMP)  ## Open JupyterLab with the notebooks, at the tour
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/nbs/00_tour.ipynb $(if $(filter 0,$(shell id -u)),--allow-root)

prepare: $(STAMP)  ## Get and prepare the labelled images of RUN, and train nothing: enough for networks that were kept
	@$(BIN)/radiogal prepare "$$RUN"

keep: $(STAMP)  ## Copy the small results of RUN into docs/results, and its findings into docs
	@$(BIN)/radiogal keep "$$RUN"

package: $(STAMP)  ## Write the networks that RUN=benchmark kept into the package, with cards and hashes, after `make prepare RUN=benchmark`
	$(BIN)/python -c 'import sys; from radiogal.packaging import pack_models; print(pack_models(sys.argv[1]).to_string(index=False))' $(if $(filter demo,$(RUN)),benchmark,"$$RUN")

canary: $(STAMP)  ## Ask each real archive whether it still answers as expected (needs the network)
	@$(BIN)/radiogal canary

export: $(STAMP)  ## Write the library radiogal/ from the notebooks
	$(BIN)/nbdev_export

refresh: $(STAMP)  ## Run notebooks in a fresh kernel and store their outputs: NOTEBOOKS="nbs/…"
	$(BIN)/radiogal refresh $(NOTEBOOKS)
	$(BIN)/nbdev_clean

readme: $(STAMP)  ## Render README.md from docs/readme.ipynb
	$(BIN)/jupyter nbconvert --to markdown --TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_input_tags=remove-input --log-level=WARN --output-dir . --output README docs/readme.ipynb
	sed 's|](\.\./|](|' README.md > .README.part && mv .README.part README.md  # pictures, seen from here

check: $(STAMP)  ## What CI checks: notebooks clean and in step with the library, README current, lint
	$(BIN)/nbdev_clean
	$(BIN)/nbdev_export
	$(MAKE) --silent readme
	$(BIN)/ruff check .
	git diff --exit-code --stat -- nbs radiogal README.md

front: $(STAMP)  ## Draw the picture of the first page from the kept results and the images of Griese et al. (2023)
	@$(BIN)/radiogal prepare benchmark griese
	$(BIN)/python docs/front.py

docs: $(STAMP)  ## Build the site in _docs/html from the notebooks' stored outputs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs _docs/html

VERSION = $(shell awk '$$1 == "version" {print $$3}' settings.ini)
wheel: $(STAMP)  ## Build the package as the package index takes it, in dist; with TAG=v0.1.0 only if that is its version
	@test -z "$$TAG" -o "$$TAG" = "v$(VERSION)" || { echo "the tag $$TAG is not v$(VERSION), the version in settings.ini"; exit 1; }
	rm -rf dist build
	$(BIN)/python -m build --no-isolation --outdir dist .

bench: $(STAMP)  ## Measure beside alternatives and limits, write docs/bench.md; or BENCH="clipping cutouts"
	@$(BIN)/python bench/run.py $$BENCH

MACHINES := x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin
RESOLVE := $(BIN)/uv pip compile setup.py --extra dev --extra archives --extra notebooks --extra workflow --universal --python-version 3.11 --generate-hashes \
  --no-strip-extras --no-annotate --no-header --quiet
lock: $(STAMP)  ## Resolve both locks again from settings.ini, and ask whether every machine finds a wheel of each package
	$(RESOLVE) --extra train --output-file requirements.lock
	cp requirements.lock requirements-gpu.lock  # So that what both need has one version
	$(RESOLVE) --extra gpu --output-file requirements-gpu.lock
	for machine in $(MACHINES); do for version in 3.11 3.12 3.13; do for lock in requirements.lock requirements-gpu.lock; do \
	  MACOSX_DEPLOYMENT_TARGET=14.0 $(BIN)/uv pip install $(WHEELS) --dry-run --no-deps --target .venv/none \
	    --python-platform $$machine --python-version $$version --requirement $$lock; done; done; done

clean:  ## Remove results, figures and built files of all runs; raw data and .venv stay
	rm -rf results _docs build dist .snakemake figures/*/ *.egg-info
