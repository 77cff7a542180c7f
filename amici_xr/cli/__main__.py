"""The command line as a module: ``python -m amici_xr.cli``."""

from amici_xr.cli.main import main

main()
