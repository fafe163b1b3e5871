# The two commands of the README: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types docs installed clean
.DELETE_ON_ERROR:

demo: .venv/ready
	$(BIN)/spikesim train $(DEMO)

test: .venv/ready-test lint types
	PYTHONSAFEPATH=1 $(BIN)/pytest --numprocesses=auto --dist=worksteal

lint: .venv/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Static tools cannot follow an editable install with mapped folders: they read a real one.
installed: .venv/ready-test
	rm -rf build
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/installed .

types: installed
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

docs: installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist *.egg-info
