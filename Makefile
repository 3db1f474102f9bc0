# make demo            the engine alone in .venv, then the main job on a small synthetic cell
# make test            everything in .venv, then ruff, mypy and every test with its coverage
# make docs            the site of docs/ in docs/_build/html
# make floors          the engine's tests with the lowest versions that setup.py allows, on Python 3.8
# make scipion-demo    all of the plugin in one Scipion project (SCREENSHOTS=folder: and pictures)
#
# Another interpreter:       make test PYTHON=python3.12
# Python 3.8 for the plugin: make test PYTHON38=/path/to/python3.8 (found by itself where it is
#                            installed; PYTHON38= leaves its tests out)
# Newest versions, no pins:  make distclean test CONSTRAINTS=/dev/null
# pip's own settings (a mirror, another index for a smaller build of torch) come from its
# configuration or its PIP_* variables.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
DEMO_OUTPUT ?= demo_output
# Tests run beside each other, one more than there are cores, since those of Scipion mostly wait.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PYTEST_ARGS ?=
# The first that works; pyenv's python3.8 answers only where that version is chosen, its prefix always.
PYTHON38 ?= $(shell for python in python3.8 "$$(pyenv prefix \
	"$$(pyenv whence python3.8 2>/dev/null | tail -n 1)" 2>/dev/null)/bin/python3.8"; do \
	"$$python" -c 'import venv, ensurepip, tkinter' 2>/dev/null && echo "$$python" && break; done)
VENV38 ?= $(VENV)/python38
DOCS_VENV ?= $(VENV)/docs
FLOORS_VENV ?= $(VENV)/floors

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c $(CONSTRAINTS)
INPUTS := setup.py dual_core/__init__.py $(wildcard $(CONSTRAINTS))

.PHONY: help test demo docs floors scipion-demo lint unit environment python38 clean distclean
.DELETE_ON_ERROR:

help:
	@sed -n '1,5s/^# //p' Makefile

test: packages-test lint unit

# First of all, in the first second: what only the system can bring.
packages-%:
	@.ci/packages $* $(PYTHON)

lint: packages-test $(VENV)/.stamp-test
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: packages-test $(VENV)/.stamp-test $(if $(PYTHON38),$(VENV38)/.stamp)
	DUAL_PYTHON38=$(VENV38)/bin/python $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 \
	  --dist worksteal --durations=10 --cov --cov-report=term $(PYTEST_ARGS)

demo: packages-demo $(VENV)/.stamp-core
	$(BIN)/dual demo --output $(DEMO_OUTPUT)

scipion-demo: packages-test $(VENV)/.stamp-test
	$(BIN)/python benchmarks/scipion_demo.py --output $(DEMO_OUTPUT)/scipion \
	  $(if $(SCREENSHOTS),--screenshots $(SCREENSHOTS))

# Nothing of the engine's beside what its docstrings are read with: torch is not needed.
docs: $(DOCS_VENV)/.stamp
	$(DOCS_VENV)/bin/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

$(DOCS_VENV)/.stamp: setup.py $(wildcard $(CONSTRAINTS))
	@echo "Installing Sphinx into $(DOCS_VENV): half a minute"
	@$(PYTHON) -m venv $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install --quiet setuptools -c $(CONSTRAINTS)
	@$(DOCS_VENV)/bin/python -c '$(REQUIREMENTS)' docs | grep -v mrcfile > $(DOCS_VENV)/requirements.txt
	@$(DOCS_VENV)/bin/python -m pip install --quiet -c $(CONSTRAINTS) \
	  -r $(DOCS_VENV)/requirements.txt scipy PyYAML
	@touch $@

environment: packages-test $(VENV)/.stamp-test

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The demo leaves Scipion out on purpose: the engine never imports it, and so the demo starts
# sooner (Scipion is half of the packages) and runs where Scipion cannot (no tkinter, Python 3.13).
# "make test" later adds the rest to the same environment, under the same pins.
#
# setup.py holds the only lists of requirements: it is run with setup() replaced by a print, which
# takes the names of extras. Then the package itself needs no more than --no-deps, and pip has no
# reason to complain that the demo's environment lacks Scipion.
# --no-build-isolation: what has to be built is built by the pinned setuptools.
define REQUIREMENTS
import runpy, setuptools, sys; \
wanted = lambda name: "test" in sys.argv or not name.startswith("scipion"); \
setuptools.setup = lambda **s: print(*filter(wanted, \
sum((s["extras_require"][extra] for extra in sys.argv[1:]), s["install_requires"])), sep="\n"); \
runpy.run_path("setup.py")
endef

INSTALL = $(BIN)/python -c '$(REQUIREMENTS)' $(1) > $(VENV)/requirements.txt \
	&& $(PIP) --no-build-isolation -r $(VENV)/requirements.txt || { \
	echo "If a version was not found: the pins are those of Python 3.11; without them:" \
	"make distclean, then the same with CONSTRAINTS=/dev/null" >&2; exit 1; }

$(VENV)/.stamp-core: $(INPUTS) | $(BIN)/python
	@echo "Installing the engine into $(VENV): some minutes the first time"
	@$(PIP) setuptools
	@$(call INSTALL,core)
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Without tkinter Scipion silently drops pwem, and the tests of the plugin would fail unreadably.
$(VENV)/.stamp-test: $(VENV)/.stamp-core
	@echo "Installing Scipion and the test tools into $(VENV)"
	@$(call INSTALL,core molecules baselines test)
	@touch $@

# Scipion's own interpreter is Python 3.8, where torch of today does not exist: the plugin with what
# Scipion itself needs, as its users install it. The pins of the rest are those of Python 3.11.
python38: $(if $(PYTHON38),$(VENV38)/.stamp)
	@test -n "$(PYTHON38)" || { echo "There is no python3.8 with venv and tkinter:" \
	  "make python38 PYTHON38=/path/to/python3.8" >&2; exit 1; }

$(VENV38)/.stamp: $(INPUTS) | $(BIN)/python
	@echo "Installing the plugin for Python 3.8 into $(VENV38): half a minute"
	@$(PYTHON38) -m venv $(VENV38)
	@sed -n '/^scipion/p' $(CONSTRAINTS) > $(VENV38)/constraints.txt
	@$(VENV38)/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	@$(VENV38)/bin/python -m pip install --quiet --no-build-isolation \
	  -c $(VENV38)/constraints.txt -e .
	@touch $@

# The floors of setup.py: do they install together, and is the engine what it should be with them?
# They are of the time of Python 3.8. FLOORS_PYTEST_ARGS chooses tests; those of Scipion, of the site
# and of the house's rules need newer tools.
FLOORS_TESTS ?= tests/safety tests/volumes tests/networks tests/tiles tests/noise_model tests/training \
	tests/tasks tests/grand_models tests/physics tests/picking tests/evaluation tests/report tests/api

floors: $(FLOORS_VENV)/.stamp
	OMP_NUM_THREADS=1 PYTHONPATH=. $(FLOORS_VENV)/bin/python -m pytest -q -p no:cacheprovider \
	  $(FLOORS_TESTS) $(FLOORS_PYTEST_ARGS)

$(FLOORS_VENV)/.stamp: setup.py constraints-floors.txt
	@test -n "$(PYTHON38)" || { echo "There is no python3.8: make floors" \
	  "PYTHON38=/path/to/python3.8" >&2; exit 1; }
	@echo "Installing the lowest versions into $(FLOORS_VENV): some minutes, torch of then is large"
	@$(PYTHON38) -m venv $(FLOORS_VENV)
	@$(FLOORS_VENV)/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	@$(FLOORS_VENV)/bin/python -c '$(REQUIREMENTS)' core molecules baselines \
	  > $(FLOORS_VENV)/requirements.txt
	@$(FLOORS_VENV)/bin/python -m pip install --quiet --prefer-binary \
	  -c constraints-floors.txt -r $(FLOORS_VENV)/requirements.txt pytest
	@touch $@

clean:
	rm -rf build dist docs/_build *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
	find dual_alias dual_core dual_scipion tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(DEMO_OUTPUT)
