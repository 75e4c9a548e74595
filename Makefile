# make run   serves the demo cluster on 127.0.0.1:1053 and prints dig lines to try
# make test  lint, types, import contracts, tests
# Both set up .venv on their own; they need Python 3.11 with venv, and nothing else.
# make test-realapi  tests of the watch, on the cluster that KDNS_TEST_KUBECONFIG names

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run test lint types contracts check test-realapi bench clean

run: $(STAMP)
	env -u KUBECONFIG -u KUBERNETES_SERVICE_HOST $(BIN)/python -m kdns serve

test: lint types contracts check

lint: $(STAMP)
	$(BIN)/ruff check kdns tests bench deploy

types: $(STAMP)
	$(BIN)/mypy --strict kdns bench deploy

contracts: $(STAMP)
	$(BIN)/lint-imports

check: $(STAMP)
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

# Creates namespaces of its own in the cluster that KDNS_TEST_KUBECONFIG names, and removes them.
test-realapi: $(STAMP)
	@test -n "$$KDNS_TEST_KUBECONFIG" || { echo "set KDNS_TEST_KUBECONFIG to the kubeconfig of a cluster to test on"; exit 2; }
	$(BIN)/python -m pytest tests/realapi -m realapi -q

# Needs NSD and Knot from Debian's packages and a C compiler for the load driver; see bench/README.md.
bench: $(STAMP)
	$(BIN)/python -m bench.serve
	$(BIN)/python -m bench.memory

clean:
	rm -rf $(VENV) bench/out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
