"""What ``import amici_xr`` costs beyond ``import xarray``: medians over fresh interpreters.

Run with ``python benchmarks/import_time.py``. cf_xarray's own import, where it is installed, is
counted apart: it would cost the same without this package.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys

RUNS = 15
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(before: str, timed: str) -> float:
    """Time `timed` in a fresh interpreter, after `before`."""
    code = f"{before}; {TIMED.format(timed)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Take turns between the imports, so that a busy moment falls on all of them."""
    has_cf = importlib.util.find_spec("cf_xarray") is not None
    cases = {"xarray": ("pass", "import xarray")}
    before = "import xarray"
    if has_cf:
        cases["cf_xarray, after xarray"] = (before, "import cf_xarray")
        before += ", cf_xarray"
    cases[f"amici_xr, after {before.removeprefix('import ')}"] = (before, "import amici_xr")
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(RUNS):
        for name, case in cases.items():
            times[name].append(seconds(*case))
    for name, values in times.items():
        print(f"{name:<36} {statistics.median(values):.3f} s")


if __name__ == "__main__":
    main()
