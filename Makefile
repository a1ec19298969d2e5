# `make demo` and `make test` set up everything that they need, see tools/setup.sh.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help setup libero demo test check-style check-types check-tests format clean

PYTHON ?=
BIN := .venv/bin
# The sub-packages of `helmsight` are the top-level folders that are packages.
PACKAGES := $(patsubst %/__init__.py,%,$(wildcard */__init__.py))

# Software rendering needs no display; a test process on each core needs no threads beside it.
TEST_ENVIRONMENT := MUJOCO_GL=egl OMP_NUM_THREADS=1

help:
	@echo "make demo    collect, train and evaluate a small parking policy (10 minutes, 2 cores)"
	@echo "make test    style, types and tests: the gate that every change passes"
	@echo "make setup   only the environment: .venv, system libraries, dependencies"
	@echo "make libero  the LIBERO benchmark and its language model, beside the rest"
	@echo "make format  let ruff put the code into its format"
	@echo "make clean   remove .venv and what checks leave behind; recorded data and runs stay"
	@echo
	@echo "PYTHON=/path/to/python3.11 chooses the interpreter; ARGS='KEY=VALUE ...' goes to the demo"
	@echo "or, as pytest's own options, to the tests."

setup: .venv/.set-up
.venv/.set-up: pyproject.toml constraints.txt tools/setup.sh
	@PYTHON="$(PYTHON)" bash tools/setup.sh

# Without dependencies of their own: hf-libero's hold MuJoCo and OpenCV back and train networks; what
# it really needs is the extra `libero`. `language` reads the instructions to train on.
libero: .venv/.libero
.venv/.libero: .venv/.set-up
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[libero,language]'
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt hf-libero robosuite bddl
	@touch $@

demo: setup
	@$(BIN)/helmsight demo $(ARGS)

# The tests come last: pytest's closing line is the gate's.
test: check-style check-types check-tests

check-style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: setup
	$(BIN)/mypy $(PACKAGES:%=-p helmsight.%)

check-tests: setup
	@$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n 2 $(ARGS)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f helmsight
