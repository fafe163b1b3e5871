# The two commands of the README: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types clean
.DELETE_ON_ERROR:

demo: .venv/ready
	$(BIN)/spikesim train $(DEMO)

test: .venv/ready-test lint types
	PYTHONSAFEPATH=1 $(BIN)/pytest

lint: .venv/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy cannot follow an editable install with mapped folders: check a real one.
types: .venv/ready-test
	rm -rf build
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/installed .
	cd tests && MYPYPATH=../build/installed ../$(BIN)/mypy --config-file ../pyproject.toml -p spikesim
	cd tests && MYPYPATH=../build/installed ../$(BIN)/mypy --config-file ../pyproject.toml ../examples

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e .
	touch $@

.venv/ready-test: .venv/ready requirements-peers.txt
	$(BIN)/pip install -c constraints.txt -e ".[test]"
	$(BIN)/pip install --no-deps -r requirements-peers.txt
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
