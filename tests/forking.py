"""Code run in a process of its own: one that may be killed, run out of disk or lose its rights."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

# Imports the package once and forks for each piece of code, which takes milliseconds. Nothing has
# started a thread before a fork. What the code prints comes back through a pipe, which neither a
# full disk nor a lost right stops.
_SERVER = """
import contextlib, json, os, random, signal, sys, time
import amici_xr, dask.array, h5netcdf, h5netcdf.legacyapi, xarray
with contextlib.suppress(ModuleNotFoundError):
    import zarr
for line in sys.stdin:
    order = json.loads(line)
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        sys.stdout = open(writing, "w")
        os.chdir(order["folder"])
        try:
            exec(order["code"])
        except BaseException as error:
            print(f"{type(error).__name__}: {error}")
        sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        if order["kill_after"] is not None:
            pipe.readline()
            time.sleep(order["kill_after"])
            os.kill(process, signal.SIGKILL)
        printed = pipe.read()
    os.waitpid(process, 0)
    print(json.dumps(printed), flush=True)
"""


class Forking:
    """Runs pieces of code, each in a fresh process that has the package imported."""

    def __init__(self, server):
        self._server = server

    def start(self, code, folder, kill_after=None):
        order = {"code": code, "folder": str(folder), "kill_after": kill_after}
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()

    def finish(self):
        """What the code printed, or its error."""
        return json.loads(self._server.stdout.readline())

    def run(self, code, folder=".", kill_after=None):
        """What the code prints; where it is killed, so long after its first line, all but that."""
        self.start(code, os.path.abspath(folder), kill_after)
        return self.finish()


@contextlib.contextmanager
def forking_process():
    repository = str(Path(__file__).parents[1])
    path = os.pathsep.join([repository, os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
    ) as server:
        try:
            yield Forking(server)
        finally:
            server.stdin.close()
            server.wait(timeout=30)
