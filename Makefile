# make demo: install, extract both receivers of the packaged model, draw and save.
# make test: install what development needs, then every check of this environment.
# test-core, test-oldest and test-amici make environments of their own.
# test-long: properties, damaged checkpoints and killed writes, with thousands of examples of each.
# docs: the documentation, its cells run, in docs/_build/html; fails on a warning or a broken link.
# figure: the picture of the README and of the documentation's first page, drawn again.
# bench: speed and memory beside the same job in long tables, on an otherwise idle machine, with the
# picture of the README; about half an hour. Adds the original itself after test-amici.

PYTHON ?= python3
SOURCES := pyproject.toml
# torch first, so that nothing after it asks for another build. Where only the registry has it and
# there is no GPU, put a CPU build here, e.g. make demo TORCH=path/to/torch-2.13.0+cpu….whl
TORCH ?= torch==2.13.0

# worksteal: a core that is done takes tests from one that is not
ON_EVERY_CORE := -n auto --dist worksteal

.PHONY: demo test test-long test-core test-oldest test-amici docs figure bench clean

demo: .venv/demo
	.venv/bin/python -m amici_xr.demo_data demo_output

test: .venv/test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest $(ON_EVERY_CORE)

test-long: .venv/test
	HYPOTHESIS_PROFILE=long AMICI_XR_LONG=1 .venv/bin/python -m pytest $(ON_EVERY_CORE) \
		tests/test_properties.py tests/test_damaged_checkpoints.py tests/test_file_faults.py

# The core alone, without torch and AnnData: what is saved elsewhere is opened here.
test-core: .venv-core/installed .venv/demo
	.venv/bin/python -m amici_xr.demo_data demo_output
	! .venv-core/bin/python -c "import torch" 2> /dev/null
	! .venv-core/bin/python -c "import anndata" 2> /dev/null
	AMICI_XR_SAVED="$(CURDIR)/demo_output" .venv-core/bin/python -m pytest $(ON_EVERY_CORE) -m "not needs_model and not live"

# The oldest of each dependency that pyproject.toml allows; and, with make test-core-3.12 or so, the
# core on another Python, INTERPRETER where it has another name than python3.12.
test-oldest: .venv-oldest/installed .venv/demo
	.venv/bin/python -m amici_xr.demo_data demo_output
	AMICI_XR_SAVED="$(CURDIR)/demo_output" .venv-oldest/bin/python -m pytest $(ON_EVERY_CORE) -m "not needs_model and not live"

test-core-%: .venv-core-%/installed .venv/demo
	.venv/bin/python -m amici_xr.demo_data demo_output
	AMICI_XR_SAVED="$(CURDIR)/demo_output" .venv-core-$*/bin/python -m pytest $(ON_EVERY_CORE) -m "not needs_model and not live"

# A user's own AMICI environment: old NumPy and SciPy, and the live model itself.
test-amici: .venv-amici/installed
	WANDB_MODE=disabled .venv-amici/bin/python -m pytest $(ON_EVERY_CORE) -m "live or not live"

docs: .venv/docs
	rm -rf docs/_build docs/generated
	.venv/bin/python -m sphinx -q -W --keep-going -j auto -b html docs docs/_build/html
	.venv/bin/python docs/check_pages.py docs/_build/html

figure: .venv/demo
	.venv/bin/python docs/draw_figure.py docs/_static/t_cell.png

bench: .venv/test
	.venv/bin/python benchmarks/import_time.py
	.venv/bin/python benchmarks/speed.py --figure benchmarks/speed.png \
		$(if $(wildcard .venv-amici/installed),--original .venv-amici/bin/python)
	.venv/bin/python benchmarks/memory.py
	.venv/bin/python benchmarks/memory.py --cells 2000000 --streamed
	.venv/bin/python benchmarks/atlas.py
	.venv/bin/python benchmarks/exact_intervals.py --minutes 5
	.venv/bin/python benchmarks/block_coverage.py
	.venv/bin/python benchmarks/contrast_power.py

.venv/demo: $(SOURCES)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet $(TORCH)
	.venv/bin/python -m pip install --quiet -e ".[model]"
	touch $@

.venv/test: .venv/demo
	.venv/bin/python -m pip install --quiet -e ".[dev]"
	touch $@

.venv/docs: .venv/demo
	.venv/bin/python -m pip install --quiet -e ".[docs]"
	touch $@

.venv-core/installed: $(SOURCES)
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/python -m pip install --quiet -e ".[test]"
	touch $@

OLDEST = import re, tomllib; \
	needed = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
	print(*(re.sub(">=(.*)", r"==\1.*", one) for one in needed))
# pyparsing: matplotlib 3.9 calls names that newer ones warn of.
.venv-oldest/installed: $(SOURCES)
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet -e ".[test,zarr]" $$($(PYTHON) -c '$(OLDEST)') "pyparsing<3.3"
	touch $@

.PRECIOUS: .venv-core-%/installed
INTERPRETER = python$*
.venv-core-%/installed: $(SOURCES)
	$(INTERPRETER) -m venv .venv-core-$*
	.venv-core-$*/bin/python -m pip install --quiet -e ".[test]"
	touch $@

# pyarrow: with the NumPy 1.26 that amici-st needs, newer ones can't be imported.
.venv-amici/installed: $(SOURCES)
	$(PYTHON) -m venv .venv-amici
	.venv-amici/bin/python -m pip install --quiet $(TORCH)
	.venv-amici/bin/python -m pip install --quiet -e ".[model,zarr,test]" \
		amici-st==0.1.0 "transformers<5" "pyarrow<20"
	touch $@

clean:
	rm -rf .venv .venv-* demo_output docs/_build docs/generated
