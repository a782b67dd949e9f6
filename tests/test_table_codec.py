"""Cells to tensors and back: what comes out is what went in, in kind and, as far as promised, in value."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_iris

from augment_gen import ConditionalVAE, load
from augment_gen.codecs import TableCodec
from augment_gen.codecs.levels import MAX_LEVELS, LevelColumn
from augment_gen.codecs.numbers import NumberColumn
from augment_gen.codecs.table import synthetic_index
from augment_gen.errors import IdentifierColumnWarning, InvalidDataError, InvalidTypeError


def round_trip(codec, X, class_index):
    """Encode, take the middle of every cell's rank interval, decode."""
    rows = codec.encode(X)
    inputs = codec.inputs(rows, torch.Generator().manual_seed(0))
    if codec.layout_.gaussian:
        ranks = (rows["low"] + rows["high"]) / 2
    else:
        ranks = torch.full(rows["low"].shape, 0.5)
    return codec.decode({"codes": inputs["codes"], "ranks": ranks}, class_index, np.random.default_rng(0))


@pytest.mark.parametrize("numeric", ["gaussian", "bins"])
def test_round_trip_keeps_format_atoms_and_categories(mixed, numeric):
    X, y = mixed
    index = pd.factorize(y)[0]
    codec = TableCodec(numeric).fit(X, index)
    back = round_trip(codec, X, index)
    assert list(back.columns) == list(X.columns)
    assert back.dtypes.tolist() == X.dtypes.tolist()
    pd.testing.assert_frame_equal(back.isna(), X.isna().reset_index(drop=True))
    for exact in ("bool", "boolean", "category", "string", "object", "constant"):
        pd.testing.assert_series_equal(back[exact], X[exact].reset_index(drop=True))
    zeros = X["many zeros"].to_numpy() == 0
    assert (back["many zeros"].to_numpy()[zeros] == 0).all() and zeros.mean() > 0.5
    for near in ("float64", "float32", "int32", "many zeros"):
        given, got = X[near].to_numpy(dtype=float, na_value=np.nan), back[near].to_numpy(dtype=float, na_value=np.nan)
        seen = ~np.isnan(given)
        ranks = np.searchsorted(np.sort(given[seen]), np.stack([given[seen], got[seen]])) / seen.sum()
        bin_width = 0.07 if numeric == "bins" else 0.005  # 400 rows are cut into 20 bins
        assert np.abs(ranks[0] - ranks[1]).max() <= bin_width, near


def test_observed_decimals_steps_and_range_are_respected(mixed):
    X, y = mixed
    codec = TableCodec("gaussian").fit(X, pd.factorize(y)[0])
    ranks = torch.rand(500, len(codec.layout_.scalar_blocks), generator=torch.Generator().manual_seed(0))
    continuous = [len(codec.columns_[i].atoms) if codec.columns_[i].kind == "numbers" else 0 for i in codec.active_]
    codes = torch.tensor(continuous).repeat(500, 1)
    drawn = codec.decode({"codes": codes, "ranks": ranks}, np.zeros(500, dtype=np.int64), np.random.default_rng(0))
    for name in ("float64", "float32", "int32", "when", "took"):
        assert drawn[name].min() >= X[name].min() and drawn[name].max() <= X[name].max()
    assert np.array_equal(drawn["many zeros"].round(2), drawn["many zeros"])
    assert (drawn["when"] == drawn["when"].dt.normalize()).all(), "days went in, so days come out"
    assert drawn["int32"].nunique() > 50


@pytest.mark.parametrize("make", [np.asarray, lambda X: X.tolist(), torch.tensor, lambda X: X.astype(np.float32)])
def test_arrays_lists_and_tensors_come_back_as_such(make):
    values, y = load_iris(return_X_y=True)
    X = make(values)
    codec = TableCodec().fit(X, y)
    back = round_trip(codec, X, y)
    assert type(back) is type(X)
    if not isinstance(X, list):
        assert back.dtype == X.dtype and back.shape == X.shape
    np.testing.assert_allclose(np.asarray(back), values, atol=0.11)


def test_list_rows_of_mixed_types_keep_numbers_as_numbers():
    X = [[1.5 + i, "a" if i % 2 else "b", None] for i in range(40)]
    codec = TableCodec().fit(X, np.arange(40) % 2)
    back = round_trip(codec, X, np.arange(40) % 2)
    assert [row[1] for row in back] == [row[1] for row in X]
    assert all(isinstance(row[0], float) for row in back)


def test_a_column_of_ten_thousand_levels_has_bounded_codes_and_keeps_each_class_to_its_levels():
    level = np.random.default_rng(0).zipf(1.3, 20_000) % 10_000
    class_index = (level % 2).astype(np.int64)  # each level occurs in one class only
    column = LevelColumn().fit(np.array([f"level {k}" for k in level], dtype=object), class_index)
    assert column.size <= MAX_LEVELS + 2
    other = np.full(2000, column.n_own)
    for k in (0, 1):
        drawn = column.decode(other, None, np.full(2000, k), np.random.default_rng(1))
        assert {int(text.split()[1]) % 2 for text in drawn} == {k}
        assert len(set(drawn)) > 100


def test_missing_is_none_where_it_was_none():
    cells = np.array(["a", None, "b", "a", "b"] * 4, dtype=object)
    column = LevelColumn().fit(cells, np.zeros(20, dtype=np.int64))
    back = column.decode(column.encode(cells)[0], None, np.zeros(20, np.int64), np.random.default_rng(0))
    assert back.tolist() == cells.tolist()


def test_integers_beyond_float_precision_survive_as_atoms():
    values = np.array([2**62 + 1, 2**62 + 3] * 10, dtype=np.int64)
    column = NumberColumn().fit(
        values, np.zeros(20, bool), np.ones(20), atom_share=0.05, max_atoms=12, bins=None, dtype=np.dtype("int64")
    )
    codes, _ = column.encode(values, np.zeros(20, bool))
    assert column.decode(codes, None, None, None).tolist() == values.tolist()


def test_wide_table_encodes_in_one_layout():
    X = np.tile(load_digits().data, 8)[:300, :500]
    codec = TableCodec().fit(X, np.arange(300) % 2)
    rows = codec.encode(X)
    assert rows["codes"].shape == (300, len(codec.layout_.blocks))
    np.testing.assert_array_equal(round_trip(codec, X, np.arange(300) % 2), X)  # pixel counts are all atoms


def test_state_rebuilds_the_codec(mixed):
    X, y = mixed
    index = pd.factorize(y)[0]
    codec = TableCodec().fit(X, index)
    copy = TableCodec.from_state(codec.state())
    pd.testing.assert_frame_equal(round_trip(copy, X, index), round_trip(codec, X, index))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame({"a": [{"k": 1}, {"k": 2}] * 5}), InvalidTypeError, "'a'.*dict.*columns of their own"),
        (pd.DataFrame({"a": [[1], [2]] * 5}), InvalidTypeError, "'a'.*list"),
        (pd.DataFrame({"a": [1.0, np.inf] * 5}), InvalidDataError, "'a', first in row 1.*Replace"),
        (pd.DataFrame({"a": [1 + 1j] * 10}), InvalidDataError, "Complex data not supported.*'a'"),
    ],
)
def test_bad_columns_are_named(X, error, message):
    with pytest.raises(error, match=message):
        TableCodec().fit(X, np.arange(10) % 2)


def test_other_columns_than_fitted_are_refused(mixed):
    X, y = mixed
    codec = TableCodec().fit(X, pd.factorize(y)[0])
    with pytest.raises(InvalidDataError, match="in that order"):
        codec.encode(X[X.columns[::-1]])


def test_identifier_like_text_warns():
    X = pd.DataFrame({"name": [f"person {i}" for i in range(100)], "v": np.arange(100.0)})
    with pytest.warns(IdentifierColumnWarning, match="'name'.*drop the column"):
        TableCodec().fit(X, np.arange(100) % 2)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.RangeIndex(4), [4, 5]),
        (pd.Index([10, 7, 3]), [11, 12]),
        (pd.Index(["a", "b"]), ["synthetic_0", "synthetic_1"]),
        (pd.date_range("2020-01-01", periods=2), [pd.Timestamp("2020-01-02")] * 2),
    ],
)
def test_synthetic_rows_continue_the_index(index, expected):
    new = synthetic_index(index, 2)
    assert new.tolist() == expected and new.dtype == index.dtype


def test_projected_vectors_keep_distances_and_do_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {f"n{i}": rng.normal(size=300) for i in range(200)} | {f"c{i}": rng.choice(list("abc"), 300) for i in range(60)}
    )
    X.iloc[::7, 3] = np.nan
    codec = TableCodec().fit(X, np.arange(300) % 2)
    vectors = codec.vectors(X)
    exact = np.concatenate([codec.columns_[i].vector(*codec._cells(X, i)) for i in codec.active_], axis=1)
    ratio = np.linalg.norm(vectors[1:] - vectors[0], axis=1) / np.linalg.norm(exact[1:] - exact[0], axis=1)
    assert vectors.shape == (300, 256) and 0.85 < ratio.min() and ratio.max() < 1.15
    for n_rows in (1, 3, 17):
        np.testing.assert_array_equal(codec.vectors(X[:n_rows]), vectors[:n_rows])


def test_decimals_of_a_database_come_back_as_decimals(tmp_path):
    rng = np.random.default_rng(0)
    prices = [Decimal(f"{value:.2f}") for value in rng.gamma(2, 30, 200)]
    X = pd.DataFrame({"price": prices, "rate": [Decimal("0.1"), None] * 100}, dtype=object)
    gen = ConditionalVAE(max_steps=3, random_state=0, device="cpu").fit(X, rng.integers(0, 2, 200))
    gen.save(tmp_path / "m.safetensors")
    for drawn in (gen.sample(50, random_state=0)[0], load(tmp_path / "m.safetensors").sample(50, random_state=0)[0]):
        assert all(isinstance(cell, Decimal) and cell.as_tuple().exponent == -2 for cell in drawn["price"])
        assert min(prices) <= min(drawn["price"]) and max(drawn["price"]) <= max(prices)
        assert set(drawn["rate"].dropna()) == {Decimal("0.1")} and drawn["rate"].isna().any()
