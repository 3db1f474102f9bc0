# make demo    the engine alone in .venv, then the main job on a small synthetic cell
# make test    everything in .venv, then ruff, mypy and every test with its coverage
#
# Another interpreter:       make test PYTHON=python3.12
# Newest versions, no pins:  make distclean test CONSTRAINTS=/dev/null
# pip's own settings (a mirror, another index for a smaller build of torch) come from its
# configuration or its PIP_* variables.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
DEMO_OUTPUT ?= demo_output
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c $(CONSTRAINTS)
INPUTS := setup.py dual_core/__init__.py $(wildcard $(CONSTRAINTS))

.PHONY: help test demo lint unit environment clean distclean
.DELETE_ON_ERROR:

help:
	@sed -n '1,3s/^# //p' Makefile

test: lint unit

lint: $(VENV)/.stamp-test
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(VENV)/.stamp-test
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

demo: $(VENV)/.stamp-core
	$(BIN)/dual demo --output $(DEMO_OUTPUT)

environment: $(VENV)/.stamp-test

# ensurepip is what Debian splits off from venv; both are asked for, as one fails without the other.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 8))' || { \
	  echo "'$(PYTHON)' is missing or older than Python 3.8: make ... PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { \
	  echo "'$(PYTHON)' has no venv: apt-get install python3-venv" >&2; exit 1; }
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
	@$(BIN)/python -c 'import tkinter' || { \
	  echo "'$(PYTHON)' has no tkinter, which Scipion needs: apt-get install python3-tk" >&2; exit 1; }
	@echo "Installing Scipion and the test tools into $(VENV)"
	@$(call INSTALL,core molecules baselines test)
	@touch $@

clean:
	rm -rf build dist *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
	find dual_core dual_scipion tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(DEMO_OUTPUT)
