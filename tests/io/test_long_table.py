"""The original's table, plain arrays, and back."""

import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from recorded_data import read_recorded

import amici_xr


def test_the_recorded_table_comes_back_but_for_its_batches_of_rows(recorded):
    table = read_recorded(f"{recorded.prefix}.scores.csv.gz", index_col=0)
    ours = amici_xr.to_dataframe(recorded.table)
    scores = ["base_attention_score", "position_coefficient"]
    expected = table.astype(dict.fromkeys(scores, "float32"))
    expected = expected.sort_values(["head_idx", "neighbor_idx"], ignore_index=True)
    pd.testing.assert_frame_equal(ours, expected, check_dtype=False, check_exact=True)
    assert (ours[scores].dtypes == "float32").all()


def test_table_and_dataset_convert_back_and_forth(several):
    table = several.amici.to_dataframe()
    back = amici_xr.from_dataframe(table)
    assert back["query"].values.tolist() == ["A", "C", "D"]
    for name in ("base_attention_score", "position_coefficient", "is_neighbor", "label"):
        xr.testing.assert_equal(back[name].variable, several[name].variable)
    pd.testing.assert_frame_equal(back.amici.to_dataframe(), table)


def test_the_order_of_rows_does_not_matter(ds):
    table = ds.amici.to_dataframe()
    shuffled = table.sample(frac=1, random_state=0)
    assert amici_xr.from_dataframe(shuffled).equals(amici_xr.from_dataframe(table))


def test_csv_comes_back_to_the_last_bit_whatever_the_labels(tmp_path):
    labels = ["NA", "CD8⁺ T/αβ", "1", "None", "a,b", ""]
    ds = amici_xr.testing.simulate_dataset("NA", cell_types=labels, n_cells=200)
    ds.amici.to_dataframe().to_csv("scores.csv.gz")
    back = amici_xr.read_csv("scores.csv.gz", unit="µm")
    np.testing.assert_array_equal(back.base_attention_score, ds.base_attention_score)
    np.testing.assert_array_equal(back.label, ds.label)
    assert back.distance_kernel_unit_scale.attrs["units"] == "µm"


def test_a_picked_head_is_one_head_of_the_table(ds):
    table = ds.amici.to_dataframe()
    picked = ds.isel(head=1).amici.to_dataframe()
    expected = table[table["head_idx"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(picked, expected)


def test_numeric_labels_become_text(ds):
    table = ds.amici.to_dataframe()
    table["neighbor_label"] = table["neighbor_label"].map({"B": 1, "C": 2, "D": 3})
    assert sorted(set(amici_xr.from_dataframe(table).label.values.tolist())) == ["1", "2", "3"]


def test_categories_and_mixed_labels_become_text(several):
    table = several.amici.to_dataframe()
    categorical = table.astype({"query_label": "category", "neighbor_label": "category"})
    assert amici_xr.from_dataframe(categorical).equals(amici_xr.from_dataframe(table))
    one = categorical[categorical["query_label"] == "A"]
    assert amici_xr.from_dataframe(one)["query"].item() == "A"
    mixed = table.astype({"neighbor_label": object})
    mixed.loc[mixed["neighbor_label"] == "B", "neighbor_label"] = 1
    assert "1" in amici_xr.from_dataframe(mixed).label.values


def test_an_empty_score_in_a_csv_is_named(ds):
    table = ds.amici.to_dataframe()
    change_row(table, "base_attention_score", np.nan).to_csv("scores.csv")
    with pytest.raises(amici_xr.SchemaError, match="missing values in 'base_attention_score'"):
        amici_xr.read_csv("scores.csv")


def test_names_in_the_place_of_positions_are_named(ds):
    table = ds.amici.to_dataframe().assign(neighbor_idx="cell_1")
    with pytest.raises(amici_xr.SchemaError, match="neighbor_idx holds values that are no numbers"):
        amici_xr.from_dataframe(table)


def test_numbers_written_in_two_ways_are_the_same_number(ds):
    table = ds.amici.to_dataframe().astype(
        {"neighbor_idx": object, "dummy_attention_score": object}
    )
    again = table.assign(neighbor_idx=table["neighbor_idx"].astype(str))
    with pytest.raises(amici_xr.SchemaError, match="a query, neighbor and head occurs in two rows"):
        amici_xr.from_dataframe(pd.concat([table, again]))
    table.loc[0, "dummy_attention_score"] = "3.0"
    assert amici_xr.from_dataframe(table).dummy_attention_score == 3.0


def test_every_bit_of_a_number_comes_back_from_csv(ds):
    exact = ds.assign(
        dummy_attention_score=0.1 + 0.2, distance_kernel_unit_scale=1.0000000000000002 / 3
    )
    exact.amici.to_dataframe().to_csv("scores.csv")
    back = amici_xr.read_csv("scores.csv")
    assert back.dummy_attention_score == exact.dummy_attention_score
    assert back.distance_kernel_unit_scale == exact.distance_kernel_unit_scale


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b""), ("a.csv.gz", b"x"), ("a.csv", b"\xff")]
)
def test_a_file_that_is_no_table_is_named(name, content):
    with open(name, "wb") as file:
        file.write(content)
    with pytest.raises(ValueError, match=rf"path='{name}' can't be read as CSV"):
        amici_xr.read_csv(name)


def test_something_else_than_a_dataframe_is_named():
    with pytest.raises(TypeError, match=r"df must be a pandas\.DataFrame, not list"):
        amici_xr.from_dataframe([1])


def test_further_columns_warn(ds):
    table = ds.amici.to_dataframe().assign(note=1)
    with pytest.warns(UserWarning, match="columns 'note' are not kept"):
        amici_xr.from_dataframe(table)


def change_row(table, column, value):
    table = table.copy()
    table.loc[0, column] = value
    return table


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda t: t.drop(columns="head_idx"),
            "the table must have each of 'head_idx' once; it has",
        ),
        (lambda t: t.iloc[:0], "it has no rows"),
        (lambda t: pd.concat([t, t.iloc[[0]]]), "a query, neighbor and head occurs in two rows"),
        (lambda t: t.iloc[1:], "a neighbor lacks the row of some head"),
        (lambda t: change_row(t, "neighbor_label", "other"), "a neighbor has two labels"),
        (lambda t: change_row(t, "dummy_attention_score", 2.0), "is not the same in every row"),
        (lambda t: change_row(t, "base_attention_score", np.nan), "missing values in 'base_att"),
        (lambda t: change_row(t, "position_coefficient", -1.0), "1 value is not above 0"),
    ],
)
def test_a_table_that_is_none_is_named(ds, spoil, message):
    with pytest.raises(amici_xr.SchemaError, match=message):
        amici_xr.from_dataframe(spoil(ds.amici.to_dataframe()))


def test_arrays_make_a_dataset_with_whatever_else_is_known():
    ds = amici_xr.from_arrays(
        [[1.0, 2.0]],
        [[0.1, 0.2]],
        ["S"],
        query="R",
        neighbor=[7],
        head=[3, 5],
        neighbor_name=["cell"],
        neighbor_x=[1.5],
        unit="µm",
    )
    assert ds.base_attention_score.dtype == np.float32
    assert ds["head"].values.tolist() == [3, 5]
    assert ds.neighbor_x.attrs["units"] == "µm"
    assert ds.cell_type.values.tolist() == ["R", "S"]
    assert ds.dummy_attention_score == 3.0


def test_arrays_of_several_queries_mark_neighbors_by_their_scores():
    base = [[[1.0], [np.nan]], [[np.nan], [2.0]]]
    ds = amici_xr.from_arrays(base, np.abs(base), ["Q", "R"], query=["R", "Q"])
    assert ds.is_neighbor.values.tolist() == [[True, False], [False, True]]


def arrays(base=((1.0,), (1.0,)), position=((1.0,), (1.0,)), label=("S", "S"), **options):
    return amici_xr.from_arrays(base, position, list(label), **{"query": "R"} | options)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"base": [1, 2]}, ValueError, r"has shape \(2,\); give \(neighbor, head"),
        ({"query": ["R"]}, ValueError, r"has shape \(2, 1\); give .*\(query, neighbor, head\)"),
        (
            {"position": [1.0, 2.0]},
            ValueError,
            r"position_coefficient has shape \(2,\)",
        ),
        ({"label": ["S"]}, ValueError, r"label has 1 along neighbor, base_attention_score 2"),
        ({"neighbor": [1.5, 2.0]}, ValueError, "neighbor holds numbers that are not int64"),
        ({"neighbour_x": [1, 2]}, TypeError, "unknown 'neighbour_x'; known: 'base_attention_s"),
        ({"neighbor": [1, 1]}, amici_xr.SchemaError, "neighbor holds 1 more than once"),
        ({"label": ["S", None]}, amici_xr.SchemaError, "label holds values that are not strings"),
        ({"label": ["S", np.nan]}, amici_xr.SchemaError, "label holds values that are not strings"),
        ({"label": ["S", "R"]}, amici_xr.SchemaError, "a neighbor has the label of its query"),
        ({"neighbor": [-1, 0]}, amici_xr.SchemaError, "neighbor holds negative positions"),
        ({"unit": 3}, TypeError, "unit=3 must be the name of a unit"),
        ({"label": ["S", "x" * 10_000]}, amici_xr.SchemaError, "a string of 10000 characters"),
        ({"cell_type": ["R"]}, amici_xr.SchemaError, r"label holds 'S', not in cell_type \('R'\)"),
    ],
)
def test_bad_arrays_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        arrays(**changes)


@pytest.mark.parametrize(
    ("separator", "decimal"),
    [(";", ","), (";", "."), ("\t", ","), ("\t", "."), ("|", ","), ("|", ".")],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets_are_read(ds, separator, decimal, encoding):
    table = amici_xr.to_dataframe(ds).replace({"neighbor_label": {"B": "β|;"}})
    for name in ("a.csv", "a.csv.gz"):
        table.to_csv(name, sep=separator, decimal=decimal, encoding=encoding)
        xr.testing.assert_equal(amici_xr.read_csv(name), amici_xr.from_dataframe(table))


@pytest.mark.parametrize("is_indexed", [True, False])
@pytest.mark.parametrize(
    ("encoding", "separator"),
    [
        *itertools.product(["latin-1", "utf-16-le", "utf-16-be", "utf-32"], ",;: "),
        *(("utf-8", separator) for separator in ": "),
    ],
)
def test_other_encodings_and_separators_are_told_with_the_call_that_reads_them(
    ds, encoding, separator, is_indexed
):
    table = amici_xr.to_dataframe(ds).replace({"neighbor_label": {"B": "Ä"}})
    table.to_csv("a.csv", sep=separator, encoding=encoding, index=is_indexed)
    option = "encoding=…" if encoding != "utf-8" else "sep=…"
    remedy = rf"path='a.csv' can't be read as CSV: .*read_csv\(path, {option}\), and pass the table"
    with pytest.raises(ValueError, match=remedy):
        amici_xr.read_csv("a.csv")
    index = 0 if is_indexed else None
    read = pd.read_csv("a.csv", sep=separator, encoding=encoding, index_col=index)
    xr.testing.assert_allclose(amici_xr.from_dataframe(read), amici_xr.from_dataframe(table))


def test_a_table_in_the_home_folder_is_read(ds, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    amici_xr.to_dataframe(ds).to_csv(tmp_path / "a.csv")
    assert amici_xr.read_csv("~/a.csv").sizes["neighbor"] == ds.sizes["neighbor"]


def test_the_apostrophe_before_what_a_spreadsheet_would_run_is_removed():
    ds = amici_xr.from_arrays(
        [[2.0], [1.0], [0.0]], [[0.5]] * 3, ["'=1", "'T'", "''-2"], query="-Q"
    )
    amici_xr.to_dataframe(ds).to_csv("a.csv")
    assert amici_xr.read_csv("a.csv")["label"].values.tolist() == ["=1", "'T'", "'-2"]
