# make demo: install, extract both receivers of the packaged model, draw and save.
# make test: install what development needs, then the checks of this environment, with 15 examples of
# each property, see conftest.py; test-all: what is slow, and 300 examples.
# coverage: the tests again, with the lines and branches that they reach.
# environments: all that .ci/run needs.
# test-core, test-oldest, test-newest, test-scvi, test-spatialdata and test-amici make environments of
# their own.
# test-long: properties, damaged checkpoints and killed writes, with thousands of examples of each.
# test-mutants: the code of MUTATED changed at one place at a time, and whether its tests notice: how
# many mutants there are, how many were killed, and what changed in each that was not.
# docs: the documentation, its cells run, in docs/_build/html; fails on a warning or a broken link.
# figure: the picture of the tour, in the documentation, drawn again.
# bench: speed and memory beside the same job in long tables, on an otherwise idle machine, with the
# pictures of the page on speed; about an hour. Adds the original itself after test-amici.

PYTHON ?= python3
SOURCES := pyproject.toml
CODE := $(shell find amici_xr -type f -not -name '*.pyc')
# torch first, so that nothing after it asks for another build. Where only the registry has it and
# there is no GPU, put a CPU build here, e.g. make demo TORCH=path/to/torch-2.13.0+cpu….whl
TORCH ?= torch==2.13.0

# worksteal: a core that is done takes tests from one that is not
ON_EVERY_CORE := -n auto --dist worksteal
OF_THE_CORE := not needs_model and not needs_training and not live and not once and not slow

# What neither torch nor AnnData can change, as no module of these folders imports them, which
# lint-imports checks. Their examples run.
WITHOUT_A_MODEL := $(addprefix --ignore=tests/,kernels dataset analysis uncertainty findings plotting)

.PHONY: demo environments test test-all coverage test-long test-mutants test-core test-oldest \
	test-newest test-scvi test-spatialdata test-amici docs figure bench clean

# One thread for linear algebra each, since as many tests or pages run at a time as there are cores.
test test-all coverage test-long test-mutants test-core test-core-% test-oldest test-newest \
	test-spatialdata test-amici docs: export OMP_NUM_THREADS = 1

demo: .venv/demo
	.venv/bin/python -m amici_xr.cli demo demo_output

demo_output/tissue.html: .venv/demo $(CODE)
	.venv/bin/python -m amici_xr.cli demo demo_output

# Those of .ci/run, for make --jobs=2; .venv/docs last, since .venv/test installs into the same.
environments: .venv/test .venv-core/installed .venv-spatialdata/installed .venv-amici/installed
	$(MAKE) .venv/docs

test: .venv/test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pytest $(ON_EVERY_CORE) -m "not live and not slow"

# What takes its time: notebooks, benchmarks at small size, 300 examples of each property.
test-all: .venv/test
	HYPOTHESIS_PROFILE=ci .venv/bin/python -m pytest $(ON_EVERY_CORE) -m "slow or drawn"

# The same tests, counted; fails below the bound in pyproject.toml, and in lines or branches alone.
PERCENT = import json; \
	found = json.load(open("coverage.json"))["totals"]; \
	parts = [100 * found[f"covered_{part}"] / found[f"num_{of}"] \
		for part, of in (("lines", "statements"), ("branches", "branches"))]; \
	print("covered: {:.1f}% of lines, {:.1f}% of branches".format(*parts)); \
	raise SystemExit(min(parts) < 95)
coverage: .venv/test
	.venv/bin/python -m pytest $(ON_EVERY_CORE) --cov --cov-report=term --cov-report=json
	.venv/bin/python -c '$(PERCENT)'

test-long: .venv/test
	HYPOTHESIS_PROFILE=long AMICI_XR_LONG=1 .venv/bin/python -m pytest $(ON_EVERY_CORE) \
		tests/test_properties.py tests/model/test_damaged_checkpoints.py tests/io/test_file_faults.py \
		tests/test_selections_and_calls.py

# MUTATED="kernels.spatial io.storage" for those; mutmut keeps its copy of the code in mutants/.
MUTATED ?= kernels uncertainty.intervals
test-mutants: .venv/test
	rm -rf mutants
	.venv/bin/mutmut run $(MUTATED:%="amici_xr.%.*")
	.venv/bin/python benchmarks/mutants.py $(MUTATED)

# The core alone, without torch and AnnData: what is saved elsewhere is opened here.
test-core: .venv-core/installed demo_output/tissue.html
	! .venv-core/bin/python -c "import torch" 2> /dev/null
	! .venv-core/bin/python -c "import anndata" 2> /dev/null
	AMICI_XR_SAVED="$(CURDIR)/demo_output" .venv-core/bin/python -m pytest $(ON_EVERY_CORE) \
		$(WITHOUT_A_MODEL) -m "$(OF_THE_CORE)"

# The oldest of each dependency that pyproject.toml allows; and, with make test-core-3.12 or so, the
# core on another Python, INTERPRETER where it has another name than python3.12.
test-oldest: .venv-oldest/installed demo_output/tissue.html
	AMICI_XR_SAVED="$(CURDIR)/demo_output" .venv-oldest/bin/python -m pytest $(ON_EVERY_CORE) -m "$(OF_THE_CORE)"

# The newest of each, pre-releases too, under $(PYTHON): pandas 3 and, from Python 3.12 on, NumPy 2.5.
test-newest: .venv-newest/installed demo_output/tissue.html
	AMICI_XR_SAVED="$(CURDIR)/demo_output" .venv-newest/bin/python -m pytest $(ON_EVERY_CORE) -m "$(OF_THE_CORE)"

# Tissues as SpatialData, which brings another dask than ours and much else.
test-spatialdata: .venv-spatialdata/installed
	.venv-spatialdata/bin/python -m pytest $(ON_EVERY_CORE) -W default tests/tissue

test-core-%: .venv-core-%/installed demo_output/tissue.html
	AMICI_XR_SAVED="$(CURDIR)/demo_output" .venv-core-$*/bin/python -m pytest $(ON_EVERY_CORE) -m "$(OF_THE_CORE)"

# Training with the newest scvi-tools for this Python; other models of it, trained and saved: none is
# taken for AMICI's.
# -W default: from Python 3.12 on it brings pandas 3, at which AnnData itself warns.
test-scvi: .venv-scvi/installed
	.venv-scvi/bin/python -m pytest -m "not once" -W default tests/live/test_live_scvi.py \
		tests/model/test_loading.py tests/model/test_checkpoint_versions.py tests/extraction/test_pipeline.py tests/training tests/refits

# A user's own AMICI environment: old NumPy and SciPy, and the live model itself.
test-amici: .venv-amici/installed
	WANDB_MODE=disabled .venv-amici/bin/python -m pytest $(ON_EVERY_CORE) -m "not once and not slow and not needs_training"

docs: .venv/docs
	rm -rf docs/_build docs/generated
	.venv/bin/python -m sphinx -q -W --keep-going -j auto -b html docs docs/_build/html
	.venv/bin/python docs/check_pages.py docs/_build/html

figure: .venv/demo
	.venv/bin/python docs/draw_figure.py docs/_static/t_cell.png

bench: .venv/test
	.venv/bin/python benchmarks/import_time.py
	.venv/bin/python benchmarks/speed.py --figure docs/_static/speed.png \
		$(if $(wildcard .venv-amici/installed),--original .venv-amici/bin/python)
	.venv/bin/python benchmarks/memory.py
	.venv/bin/python benchmarks/memory.py --cells 2000000 --streamed
	.venv/bin/python benchmarks/files.py
	.venv/bin/python benchmarks/atlas.py
	.venv/bin/python benchmarks/response_growth.py --large
	.venv/bin/python benchmarks/growth.py --figure docs/_static/growth.png
	.venv/bin/python benchmarks/exact_intervals.py --minutes 5
	.venv/bin/python benchmarks/spatial_coverage.py
	.venv/bin/python benchmarks/contrast_rates.py
	.venv/bin/python benchmarks/training.py \
		$(if $(wildcard .venv-amici/installed),--original .venv-amici/bin/python)

.venv/demo: $(SOURCES)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet $(TORCH)
	.venv/bin/python -m pip install --quiet -e ".[model,report]"
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

.venv-newest/installed: $(SOURCES)
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --pre --upgrade --upgrade-strategy eager -e ".[test,zarr]"
	touch $@

.PRECIOUS: .venv-core-%/installed
INTERPRETER = python$*
.venv-core-%/installed: $(SOURCES)
	$(INTERPRETER) -m venv .venv-core-$*
	.venv-core-$*/bin/python -m pip install --quiet -e ".[test]"
	touch $@

.venv-spatialdata/installed: $(SOURCES)
	$(PYTHON) -m venv .venv-spatialdata
	.venv-spatialdata/bin/python -m pip install --quiet $(TORCH)
	.venv-spatialdata/bin/python -m pip install --quiet -e ".[train,zarr,spatialdata,test]"
	touch $@

.venv-scvi/installed: $(SOURCES)
	$(PYTHON) -m venv .venv-scvi
	.venv-scvi/bin/python -m pip install --quiet $(TORCH)
	.venv-scvi/bin/python -m pip install --quiet -e ".[train,zarr,test]"
	touch $@

# pyarrow: with the NumPy 1.26 that amici-st needs, newer ones can't be imported.
.venv-amici/installed: $(SOURCES)
	$(PYTHON) -m venv .venv-amici
	.venv-amici/bin/python -m pip install --quiet $(TORCH)
	.venv-amici/bin/python -m pip install --quiet -e ".[model,zarr,test]" \
		amici-st==0.1.0 "transformers<5" "pyarrow<20"
	touch $@

clean:
	rm -rf .venv .venv-* demo_output mutants .coverage coverage.json docs/_build docs/generated
