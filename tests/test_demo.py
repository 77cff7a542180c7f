"""The packaged demo, as a newcomer runs it."""

import subprocess
import sys

import pytest
import xarray as xr

pytestmark = pytest.mark.needs_model


def test_the_tour_prints_planted_beside_recovered_and_writes_files_and_figures(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "amici_xr.demo_data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines() if "→" in line}
    assert abs(float(rows["Macrophage → T_cell"][4]) - 10) < 1
    assert abs(float(rows["Fibroblast → Tumor"][4]) - 20) < 3
    written = {path.name for path in tmp_path.iterdir()}
    for receiver in ("T_cell", "Tumor"):
        for what in ("curve", "length_scale"):
            assert {f"{receiver}_{what}.png", f"{receiver}_{what}.svg"} <= written
        with xr.open_dataset(tmp_path / f"{receiver}.nc") as ds:
            assert ds["query"].item() == receiver
    assert done.stderr == ""
