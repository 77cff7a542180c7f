"""Cases of a test that `make test-all` runs, where one of them is enough at each change."""

import pytest


def slow(*values):
    """Make a case of `pytest.mark.parametrize` that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.slow)
