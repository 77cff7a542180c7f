"""Threads: answers in order, errors that come through, linear algebra that keeps to one thread."""

import time

import numpy as np  # noqa: F401  # whose linear algebra is meant
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from amici_xr.iteration import answers, one_thread_of_linear_algebra


@pytest.fixture
def _two_threads():
    """Two threads of linear algebra, also where the environment says one."""
    with threadpool_limits(2, user_api="blas"):
        assert set(threads()) == {2}
        yield


def threads():
    return [
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    ]


def test_answers_come_in_the_order_of_the_items():
    def answer(seconds):
        time.sleep(seconds)
        return seconds

    assert list(answers(answer, [0.05, 0.0, 0.02])) == [0.05, 0.0, 0.02]


def test_an_error_of_one_item_is_that_of_all():
    with pytest.raises(ZeroDivisionError):
        list(answers(lambda number: 1 / number, [1, 0, 1]))


@pytest.mark.usefixtures("_two_threads")
def test_linear_algebra_takes_one_thread_and_then_as_many_as_before():
    with one_thread_of_linear_algebra():
        assert set(threads()) == {1}
    assert set(threads()) == {2}


@pytest.mark.usefixtures("_two_threads")
def test_the_limit_holds_until_the_last_of_several_threads_is_done():
    """They need not end in the order in which they began."""
    first, second = one_thread_of_linear_algebra(), one_thread_of_linear_algebra()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(threads()) == {1}
    second.__exit__(None, None, None)
    assert set(threads()) == {2}
