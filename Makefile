# Shortcuts for a checkout; the README shows the plain pip commands. PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet
DEMO := demo
# Tests run in one process more than there are cores, since servers and browsers make them wait; in at most 4, each of
# which holds a model.
SPREAD := --numprocesses=$(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count() + 1))') --dist=loadscope \
	--no-loadscope-reorder
# Left out are the page, notebooks and packages, which need more installed, and what takes long.
WITHOUT_TORCH := -m 'not torch and not slow' --ignore=tests/webui --ignore=tests/serve --ignore=tests/test_notebooks.py \
	--ignore=tests/test_packaging.py --ignore=tests/test_site.py --ignore-glob='tests/robustness/test_serve*' \
	--ignore=tests/robustness/test_prompts_sessions.py --ignore=tests/robustness/test_batch_ray.py \
	--ignore=tests/batch/test_storage.py \
	--deselect=tests/robustness/test_output_stack.py::test_predict_batch_and_page_write_equal_bytes \
	--deselect=tests/robustness/test_output_stack.py::test_the_page_saves_every_format_of_segments

.PHONY: help demo test test-without-torch test-minimum test-runtimes test-litert test-coreml test-ncnn test-openvino bench-gpu lint format build release-check docs docs-serve clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/for-demo ## install, fetch the weights, segment three photos, say where the results are
	$(BIN)/mobilesam weights fetch
	$(BIN)/mobilesam samples $(DEMO)/photos --force
	$(BIN)/mobilesam predict $(DEMO)/photos/cat.jpg --point 230,130 --out $(DEMO) --format overlay,cutout --force
	$(BIN)/mobilesam predict $(DEMO)/photos/coffee.jpg --box 75,10,482,395 --out $(DEMO) --format overlay,cutout --force
	$(BIN)/mobilesam everything $(DEMO)/photos/rocket.jpg --mode fast --out $(DEMO) --format overlay --force
	@echo "Open the images in $(CURDIR)/$(DEMO)"

test: .venv/for-development tests/webui/node_modules/.package-lock.json ## install what the tests need and run them all; ARGS="-k box" chooses some
	$(BIN)/python -m pytest $(SPREAD) $(ARGS)

test-without-torch: .venv/without-torch/ready ## run the quick tests that need no torch where there is none
	.venv/without-torch/bin/python -m pytest $(WITHOUT_TORCH) $(SPREAD) $(ARGS)

test-minimum: .venv/minimum/ready ## run them with the lowest versions that pyproject.toml allows
	.venv/minimum/bin/python -m pytest $(WITHOUT_TORCH) $(SPREAD) $(ARGS)

test-runtimes: test-litert test-coreml test-ncnn test-openvino ## export to other runtimes and run them, each in an environment of its own

test-litert test-coreml test-ncnn: test-%: .venv/%/ready
	.venv/$*/bin/python -m pytest -p no:anyio tests/runtimes/test_$*.py $(ARGS)

test-openvino: .venv/for-development
	$(BIN)/python -m pytest tests/runtimes/test_openvino.py $(ARGS)

bench-gpu: .venv/for-development ## measure precisions on a GPU; ARGS="--device cpu --turns 1" rehearses on the CPU
	$(BIN)/mobilesam samples $(DEMO)/photos --force
	$(BIN)/python -m benchmarks.gpu --image $(DEMO)/photos/coffee.jpg --out $(DEMO)/gpu.json $(ARGS)

lint: .venv/for-development tests/webui/node_modules/.package-lock.json ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	tests/webui/node_modules/.bin/tsc --project tests/webui/tsconfig.json
	tests/webui/node_modules/.bin/eslint --config tests/webui/eslint.config.js webui/static tests/webui/script

format: .venv/for-development ## rewrite the sources in the common style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

build: .venv/for-development ## build the wheel and the source distribution into dist/
	rm -rf build dist
	$(BIN)/python -m build --outdir dist

release-check: build ## check the distributions, and install the wheel on the lowest and the highest Python found
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python tests/release_check.py

docs: .venv/for-development ## run the notebooks and build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open $(CURDIR)/site/index.html, or run make docs-serve for the search"

docs-serve: docs ## build the documentation and serve it, with its search, at http://127.0.0.1:8000
	@echo "Open http://127.0.0.1:8000 (Ctrl-C ends it)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000

clean: ## remove the virtual environment, caches and the demo's images
	rm -rf .venv tests/webui/node_modules .pytest_cache .mypy_cache .ruff_cache build dist site *.egg-info $(DEMO)

# Dependency groups need pip 25.1.
.venv/created:
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	@touch $@

.venv/without-torch/ready: .venv/created pyproject.toml
	$(PYTHON) -m venv .venv/without-torch
	.venv/without-torch/bin/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	.venv/without-torch/bin/python $(PIP_INSTALL) --editable . --group tests
	@touch $@

.venv/litert/ready .venv/coreml/ready .venv/ncnn/ready: .venv/%/ready: .venv/created pyproject.toml
	$(PYTHON) -m venv .venv/$*
	.venv/$*/bin/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	.venv/$*/bin/python $(PIP_INSTALL) --editable '.[$*]' --group tests
	@touch $@

.venv/minimum/ready: .venv/created pyproject.toml tests/lowest_versions.py
	$(PYTHON) -m venv .venv/minimum
	.venv/minimum/bin/python $(PIP_INSTALL) --upgrade 'pip>=25.1'
	.venv/minimum/bin/python tests/lowest_versions.py >.venv/minimum/constraint.txt
	.venv/minimum/bin/python $(PIP_INSTALL) --constraint .venv/minimum/constraint.txt --editable . --group tests
	@touch $@

# Not editable, so that the package is found also from the folder above a checkout named mobilesam.
.venv/for-demo: .venv/created pyproject.toml
	$(BIN)/python $(PIP_INSTALL) .
	@touch $@

.venv/for-development: .venv/created pyproject.toml
	$(BIN)/python $(PIP_INSTALL) --editable '.[all]' --group dev
	@touch $@

# For the types, the style and the accessibility of the page's script, which are not checked where there is no npm.
tests/webui/node_modules/.package-lock.json: tests/webui/package.json tests/webui/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/webui --ignore-scripts --silent && touch $@; \
	else echo "npm is not installed: the page's script is tested without its types and accessibility"; fi
