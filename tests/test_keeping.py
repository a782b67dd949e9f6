"""Model files and pickles: the same rows afterwards, and nothing but clear errors from files that are not ours."""

import json
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

import augment_gen
from augment_gen import ConditionalVAE, ElasticWarp, WarpVAE
from augment_gen.errors import ModelFileError
from augment_gen.persistence import FORMAT_VERSION, read_state, write_state


@pytest.fixture(scope="module")
def saved(fitted_mixed, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "mixed.safetensors"
    fitted_mixed.save(path)
    return path


def test_a_loaded_generator_draws_the_same_rows(mixed, fitted_mixed, saved):
    fitted_mixed.save(saved)  # the stream has moved on since the fixture saved it
    copy = augment_gen.load(saved)
    assert copy.get_params() == fitted_mixed.get_params()
    for request in ({"n_samples": 40}, {"n_samples": {"malignant": 30}, "random_state": 5}):
        X_new, y_new = fitted_mixed.sample(**request)
        X_copy, y_copy = copy.sample(**request)
        pd.testing.assert_frame_equal(X_copy, X_new)
        pd.testing.assert_series_equal(y_copy, y_new)
    pd.testing.assert_frame_equal(copy.latent_report_, fitted_mixed.latent_report_)
    pd.testing.assert_frame_equal(copy.history_, fitted_mixed.history_)
    assert copy.feature_names_in_.tolist() == fitted_mixed.feature_names_in_.tolist()


def test_pickle_draws_the_same_rows(fitted_mixed):
    copy = pickle.loads(pickle.dumps(fitted_mixed))
    pd.testing.assert_frame_equal(copy.sample(30, random_state=1)[0], fitted_mixed.sample(30, random_state=1)[0])


@pytest.mark.parametrize("density", ["interpolation", "mixture", "gaussian", "exemplar"])
def test_every_density_and_array_tables_are_kept(wine, density, tmp_path):
    gen = ConditionalVAE(max_steps=20, latent_density=density, random_state=0, device="cpu").fit(*wine)
    gen.save(tmp_path / "wine.safetensors")
    copy = augment_gen.load(tmp_path / "wine.safetensors")
    np.testing.assert_array_equal(copy.sample(50, random_state=1)[0], gen.sample(50, random_state=1)[0])
    assert set(gen.latent_report_["density"]) == {density}


def test_writing_replaces_the_old_file_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write_state(path, {"a": np.arange(3)})
    monkeypatch.setattr("augment_gen.persistence.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_state(path, {"a": np.arange(9)})
    assert read_state(path)["a"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_code_is_not_written(wine, tmp_path):
    gen = ConditionalVAE(max_steps=2, sampling_strategy=lambda y: {0: 71}, device="cpu").fit(*wine)
    with pytest.raises(ModelFileError, match="sampling_strategy=.*is code"):
        gen.save(tmp_path / "x.safetensors")


def test_levels_that_json_cannot_hold_are_named(tmp_path):
    X = pd.DataFrame({"a": [frozenset("x"), frozenset("y")] * 20, "b": np.arange(40.0)})
    gen = ConditionalVAE(max_steps=2, device="cpu").fit(X, np.arange(40) % 2)
    assert set(gen.sample(20)[0]["a"]) == {frozenset("x"), frozenset("y")}
    with pytest.raises(ModelFileError, match="of type frozenset cannot be written"):
        gen.save(tmp_path / "x.safetensors")


def test_levels_and_names_that_are_no_plain_text_are_kept(tmp_path):
    X = pd.DataFrame(
        {
            ("a", 1): [(1, 2), (3, 4)] * 20,
            ("b", 2): pd.cut(np.arange(40.0), 4),
            ("c", 3): pd.period_range("2020-01", periods=40, freq="M"),
        }
    )
    gen = ConditionalVAE(max_steps=2, device="cpu").fit(X, np.arange(40) % 2)
    gen.save(tmp_path / "x.safetensors")
    pd.testing.assert_frame_equal(augment_gen.load(tmp_path / "x.safetensors").sample(30)[0], gen.sample(30)[0])


# ------------------------------------------------------------ hostile files
def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model file"):
        augment_gen.load(tmp_path / "nothing")


def test_truncated_at_any_length(saved, tmp_path):
    content, path = saved.read_bytes(), tmp_path / "cut.safetensors"
    header_end = 8 + struct.unpack("<Q", content[:8])[0]
    for length in [*range(0, 64), *np.linspace(64, header_end, 40, dtype=int), header_end + 1, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match="damaged or cut short"):
            augment_gen.load(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"PK\x03\x04", b"not a model", struct.pack("<Q", 2**62) + b"{}"])
def test_foreign_files(content, tmp_path):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="no model file of augment_gen"):
        augment_gen.load(path)


def test_a_pickle_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("executed").touch, ())

    (tmp_path / "trap").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelFileError):
        augment_gen.load(tmp_path / "trap")
    assert not (tmp_path / "executed").exists()


def test_other_safetensors_files_and_newer_versions(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(ModelFileError, match="not one that augment_gen wrote"):
        augment_gen.load(path)
    header = {"format": "augment_gen", "format_version": FORMAT_VERSION + 1, "state": {}}
    save_file({"w": torch.zeros(1)}, path, metadata={"augment_gen": json.dumps(header)})
    with pytest.raises(ModelFileError, match=f"format version {FORMAT_VERSION + 1}.*Upgrade"):
        augment_gen.load(path)


def test_states_that_claim_nonsense_are_damaged_files(saved, tmp_path):
    path = tmp_path / "changed.safetensors"
    changes = [
        ("generator", "__import__"),
        ("modality", "sound"),
        ("params", {"max_steps": -1}),
        ("params", {"os": "system"}),
        ("conditions", []),
        ("stream", {"state": "x"}),
    ]
    for key, value in changes:
        state = read_state(saved)
        state[key] = value
        write_state(path, state)
        with pytest.raises((ModelFileError, ValueError), match="damaged|knows ConditionalVAE|max_steps"):
            augment_gen.load(path)


def test_a_file_cannot_ask_for_more_memory_than_it_brings(saved, tmp_path):
    state = read_state(saved)
    state["decoder"]["architecture"]["width"] = 10**5  # 10^10 weights, if they were allocated
    write_state(tmp_path / "huge.safetensors", state)
    with pytest.raises(ModelFileError, match="size mismatch"):
        augment_gen.load(tmp_path / "huge.safetensors")


@pytest.mark.parametrize("levels", [[0, 1], [0.5, 2.5], [False, True], [2**63, 2**63 + 5]], ids=str)
def test_categories_that_are_numbers_come_back(levels, tmp_path):
    kinds = pd.Categorical([levels[i % 2] for i in range(60)], categories=levels)
    X = pd.DataFrame({"kind": kinds, "number": pd.Series([levels[i % 2] for i in range(60)])})
    gen = ConditionalVAE(max_steps=2, random_state=0, device="cpu").fit(X, np.arange(60) % 2 if levels[0] == 0.5 else kinds)
    gen.save(tmp_path / "m.safetensors")
    for one, other in zip(
        gen.sample(20, random_state=0), augment_gen.load(tmp_path / "m.safetensors").sample(20, random_state=0), strict=True
    ):
        assert one.equals(other) if hasattr(one, "equals") else np.array_equal(one, other)


@pytest.mark.parametrize("name", [None, 0, ("a", 1), "y"], ids=str)
def test_the_name_of_y_comes_back(name, tmp_path):
    y = pd.Series([0, 1] * 30, name=name)
    gen = ConditionalVAE(max_steps=2, random_state=0, device="cpu").fit(np.random.default_rng(0).normal(size=(60, 3)), y)
    gen.save(tmp_path / "m.safetensors")
    assert augment_gen.load(tmp_path / "m.safetensors").sample(3)[1].name == name


@pytest.mark.parametrize("generator", [WarpVAE, ElasticWarp, ConditionalVAE])
def test_float_images_are_drawn_alike_by_a_file_and_a_copy_and_none_where_none_are_asked_for(generator, tmp_path):
    images, labels = load_digits(n_class=3, return_X_y=True)
    X = (images.reshape(-1, 8, 8) / 16).astype(np.float32)[:90]
    gen = generator(max_steps=5, random_state=0, device="cpu").fit(X, labels[:90])
    gen.save(tmp_path / "m.safetensors")
    drawn = gen.sample(30, random_state=0)[0]
    for copy in (augment_gen.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(gen))):
        assert np.array_equal(copy.sample(30, random_state=0)[0], drawn)
    assert gen.sample(0)[0].shape == (0, 8, 8)
