# make demo: the main job, end to end, on invented data. make test: every check. Both set up .venv by themselves.
.PHONY: setup demo test test-slow docs ui clean

STUDIES ?= 1600
SEED ?= 7
DEMO ?= demo
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export DO_NOT_TRACK = 1

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt infra/setup/install.sh
	bash infra/setup/install.sh

demo: setup
	.venv/bin/trrg sample --studies $(STUDIES) --seed $(SEED) $(DEMO)/corpus
	.venv/bin/trrg run --source mimic-cxr --source-root $(DEMO)/corpus --store $(DEMO)/store

test: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pytest -m $(if $(CI),"not long","not slow")

test-slow: setup
	.venv/bin/python -m pytest -m slow

docs: setup
	.venv/bin/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "documentation: build/docs/index.html"

ui: setup
	.venv/bin/trrg ui --store $(DEMO)/store

clean:
	rm -rf $(DEMO) .venv build
