"""Neighborhoods of tissues in several pieces: carried ones, and pieces that overlap in space."""

import warnings

import numpy as np
import pytest
from scipy.spatial import KDTree

import amici_xr

anndata = pytest.importorskip("anndata")
pytestmark = pytest.mark.needs_model


def extract(model, adata, **options):
    return amici_xr.extract(model, "T_cell", adata, progress=False, **options)


@pytest.fixture
def two_fields(demo):
    """The tissue cut in two, each half with coordinates of its own, as of fields of view."""
    adata = demo[1].copy()
    positions = adata.obsm["spatial"]
    is_right = positions[:, 0] >= np.median(positions[:, 0])
    adata.obs["fov"] = np.where(is_right, "2", "1")
    shift = np.median(positions[:, 0]) * is_right
    adata.obsm["spatial"] = np.column_stack([positions[:, 0] - shift, positions[:, 1]])
    return adata


def test_sections_set_up_one_by_one_and_concatenated_are_computed_anew_by_sample(demo):
    model, tissue = demo
    sections = {}
    for name, cells in (("left", slice(None, 3000)), ("right", slice(3000, None))):
        section = tissue[cells].copy()
        ds = amici_xr.extract(model, adata=section, progress=False)
        section.obsm["_nn_idx"] = ds["neighborhood_index"].values
        section.obsm["_nn_dist"] = ds["neighborhood_distance"].values
        sections[name] = section
    both = anndata.concat(sections, label="section", index_unique="-")
    with pytest.warns(UserWarning, match="cross samples, so they are computed anew"):
        ds = extract(model, both, sample_key="section")
    del both.obsm["_nn_idx"], both.obsm["_nn_dist"]
    expected = extract(model, both, sample_key="section")
    np.testing.assert_array_equal(ds["neighborhood_index"], expected["neighborhood_index"])


def test_fields_of_view_that_overlap_warn_and_a_sample_key_keeps_them_apart(demo, two_fields):
    with pytest.warns(UserWarning, match=r"are of another 'fov' .*pass sample_key='fov'"):
        extract(demo[0], two_fields)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds = extract(demo[0], two_fields, sample_key="fov")
    receiver = int(ds["receiver"][0])
    others = np.flatnonzero(
        (two_fields.obs["fov"] == two_fields.obs["fov"].iloc[receiver])
        & (two_fields.obs["cell_type"] != "T_cell")
    )
    nearest = KDTree(two_fields.obsm["spatial"][others]).query(
        two_fields.obsm["spatial"][receiver], k=ds.sizes["rank"]
    )[1]
    np.testing.assert_array_equal(ds["neighborhood_index"][0], others[nearest])


def test_sections_that_lie_beside_each_other_do_not_warn(demo):
    adata = demo[1].copy()
    adata.obs["section"] = np.where(adata.obsm["spatial"][:, 0] > 200, "right", "left")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extract(demo[0], adata)
