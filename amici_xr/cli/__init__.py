"""The functions as commands: ``amici-xr``."""
