"""From statistics to p-values: the radius, the pair, and what could have been found."""

import numpy as np
import pytest

from amici_xr.response.evidence import choose_radius, detectable_deviate, weigh
from amici_xr.response.tests_of_pairs import PairTests

N_GENES = 60


def statistics_of(deviate, correlation=None):
    correlation = np.eye(deviate.shape[2]) if correlation is None else correlation
    nothing = np.empty(0)
    return PairTests(deviate, *[nothing] * 6, correlation, 10_000)


def test_p_of_null_pairs_are_not_too_small():
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(0.3 * np.kron(np.eye(6), np.ones((10, 10))) + 0.7 * np.eye(60))
    deviate = rng.normal(size=(4_000, 1, N_GENES)) @ root.T
    evidence = weigh(statistics_of(deviate, root @ root.T))
    assert evidence.genomic_control == pytest.approx(1, abs=0.02)
    for bound in (0.05, 0.01):
        assert (evidence.p_value < bound).mean() < 1.35 * bound
        assert (evidence.p_value < bound).mean() > 0.4 * bound
    assert (evidence.gene_p_value < 0.05).mean() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("group", [1, 12])
def test_the_detectable_deviate_is_found_with_the_power_that_it_promises(group):
    rng = np.random.default_rng(1)
    n_groups = N_GENES // group
    correlation = 0.5 * np.kron(np.eye(n_groups), np.ones((group, group))) + 0.5 * np.eye(N_GENES)
    root = np.linalg.cholesky(correlation)
    null = statistics_of(rng.normal(size=(3_000, 1, N_GENES)) @ root.T, correlation)
    needed = detectable_deviate(weigh(null), 0.002)
    shifted = null.deviate.copy()
    shifted[:300, :, rng.choice(N_GENES, 8, replace=False)] += needed
    p = weigh(statistics_of(shifted, correlation)).p_value[:300]
    assert 0.6 < (p < 0.002).mean() < 0.97


def test_innovations_find_a_gene_that_departs_from_those_it_goes_with():
    """A shared factor hides it from the sum over genes."""
    rng = np.random.default_rng(2)
    correlation = 0.8 * np.ones((N_GENES, N_GENES)) + 0.2 * np.eye(N_GENES)
    deviate = rng.normal(size=(2_000, 1, N_GENES)) @ np.linalg.cholesky(correlation).T
    deviate[0, 0, :8] += 2.5
    evidence = weigh(statistics_of(deviate, correlation))
    assert evidence.p_value[0] < 1e-6
    assert np.median(evidence.p_value[1:]) > 0.1


def test_senders_that_were_not_tested_have_no_p():
    deviate = np.random.default_rng(0).normal(size=(3, 2, N_GENES))
    deviate[1] = np.nan
    deviate[2, 0] = np.nan
    evidence = weigh(statistics_of(deviate))
    np.testing.assert_array_equal(np.isnan(evidence.p_value), [False, True, False])


def test_thousands_of_genes_are_tested_by_simes_alone():
    deviate = np.random.default_rng(0).normal(size=(1, 1, 2_500))
    evidence = weigh(statistics_of(deviate, np.zeros((0, 0))))
    p = np.sort(evidence.gene_p_value[0])
    assert evidence.p_value[0] == pytest.approx((p * 2_500 / np.arange(1, 2_501)).min())
    assert detectable_deviate(evidence, 0.001) > 3


def test_the_radius_is_where_significant_genes_respond_most():
    square = np.array([[9.0, 1.0, 30.0], [16.0, 9.0, 1.0], [np.nan] * 3])
    assert choose_radius(square, np.array([0.01, 0.02, 0.9])) == 1
    assert choose_radius(square, np.array([0.9, 0.9, 0.9])) == 0
    assert choose_radius(np.full((2, 3), np.nan), np.ones(3)) == -1
