# Three commands do everything on a fresh machine:   make demo   make web   make test
# PYTHON picks the interpreter, VENV the environment's folder, CONSTRAINTS the tested versions (empty: newest that fit).
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
JOBS ?= 2
PYTEST_ARGS ?=
WEB_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
STAMPS := $(VENV)/.stamps
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo web test lint types imports unit parity format clean

help:
	@echo "make demo    install, then animate the example portrait: outputs/demo.mp4"
	@echo "make web     install, then serve the page and the HTTP API on this machine (WEB_ARGS: options)"
	@echo "make test    install, then lint, format, types, import order, tests"
	@echo "make parity  compare a whole training step with reference outputs (SYNHEAD_PARITY)"
	@echo "make format  apply ruff's fixes and formatting"
	@echo "make clean   remove $(VENV), outputs and caches"

demo: $(STAMPS)/demo
	$(BIN)/python examples/demo.py

web: $(STAMPS)/web
	$(BIN)/synhead web --templates examples/templates $(WEB_ARGS)

test: lint types imports unit

lint: $(STAMPS)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMPS)/test
	$(BIN)/mypy

imports: $(STAMPS)/test
	$(BIN)/lint-imports

unit: $(STAMPS)/test
	$(THREADS) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not gradient_parity" $(PYTEST_ARGS)

# Losses and gradient norms of a whole training step of the published size against the reference outputs. With the
# convolution kernels of their time: batch norm over two images turns the other rounding of AVX-512 kernels into
# gradient norms that differ by more than 3 % for one parameter in twenty.
parity: $(STAMPS)/test
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(BIN)/python -m pytest tests/parity $(PYTEST_ARGS)

format: $(STAMPS)/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) outputs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -exec rm -rf {} +

# A stamp says which extras an environment holds; it is remade when the requirements change.
$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is missing or older than 3.10; name another: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "error: the venv module does not work; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

# torch comes first, at its constrained version, so that no later requirement pulls another build of it.
$(STAMPS)/torch: $(STAMPS)/venv $(CONSTRAINTS)
	@echo "installing torch into $(VENV) (a few minutes the first time)"
	@$(PIP) torch
	@touch $@

$(STAMPS)/demo: $(STAMPS)/torch pyproject.toml
	@echo "installing synhead[demo] into $(VENV)"
	@$(PIP) --editable '.[demo]'
	@touch $@

$(STAMPS)/web: $(STAMPS)/torch pyproject.toml
	@echo "installing synhead[faces,provenance,web] into $(VENV)"
	@$(PIP) --editable '.[faces,provenance,web]'
	@touch $@

$(STAMPS)/test: $(STAMPS)/torch pyproject.toml
	@echo "installing synhead[dev] into $(VENV)"
	@$(PIP) --editable '.[dev]'
	@touch $@
