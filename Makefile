# Everything a person does here; `make help` lists it.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
WORKERS ?= 3
# A file runs on one worker, and files run in the order of medpipe_tests/conftest.py.
SPREAD := --dist loadfile --no-loadscope-reorder
MEGABYTES ?= 100
GROWTH_MEGABYTES ?= 60
BENCH_FOLDER ?= build/bench
HOME_OF_PICTURES ?= /srv/medpipe

export DAGSTER_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
# DeepSpeed: pure Python, nothing compiled while it is installed.
export DS_BUILD_OPS := 0

.PHONY: help demo dev pictures test test-quick bench lint check install clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "no $(PYTHON) with its venv module; on Debian: apt-get install python3.11-venv"; exit 1; }
	@echo "installing the pinned dependencies into $(VENV) (some minutes the first time)"
	@$(BIN)/python -m pip install --disable-pip-version-check --root-user-action=ignore \
	  --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(STAMP) ## create .venv with the pinned dependencies

demo: $(STAMP) ## run the main job on the sample corpus that ships in the package
	@$(BIN)/medpipe demo

dev: $(STAMP) ## Dagster, its daemon and MLflow on loopback, one log, until Ctrl-C (SAMPLE=1: sample corpus)
	@$(BIN)/medpipe dev $(if $(SAMPLE),--sample)

pictures: $(STAMP) ## take the pictures of docs/walkthrough.md anew (chromium; HOME_OF_PICTURES must not exist)
	@$(BIN)/python docs/take_pictures.py --home $(HOME_OF_PICTURES)

test: $(STAMP) ## all tests (at most 30 minutes on two cores)
	@$(BIN)/python -m pytest -n $(WORKERS) $(SPREAD)

test-quick: $(STAMP) ## the inner loop: without slow, browser and hub-server tests
	@$(BIN)/python -m pytest -n $(WORKERS) $(SPREAD) -m 'not slow and not browser and not hub'

bench: $(STAMP) ## figures beside other tools, on the real records (about two hours; a quiet machine)
	@rm -f bench/results/latest.jsonl
	@$(BIN)/python -m pip install --disable-pip-version-check --root-user-action=ignore --quiet \
	  --constraint constraints.txt --editable '.[dev,bench]'
	@$(BIN)/python -m bench.normalize
	@for each in tokenise near_duplicates filters whole_way; do \
	  $(BIN)/python -m bench.$$each --folder $(BENCH_FOLDER) --megabytes $(MEGABYTES) || exit 1; done
	@$(BIN)/python -m bench.stream --folder $(BENCH_FOLDER)/stream
	@$(BIN)/python -m bench.training --folder $(BENCH_FOLDER)/training
	@$(BIN)/python -m bench.growth --folder $(BENCH_FOLDER) --megabytes $(GROWTH_MEGABYTES)
	@$(BIN)/python -m bench.refresh --folder $(BENCH_FOLDER) --megabytes $(MEGABYTES)
	@$(BIN)/python -m bench.workplace --folder $(BENCH_FOLDER)
	@$(BIN)/python -m bench.figures

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: $(STAMP) ## installed packages fit together, definitions load
	@$(BIN)/python -m pip check
	@$(BIN)/dagster definitions validate -w workspace.yaml

clean: ## remove the virtual environment and caches, keep all state
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
