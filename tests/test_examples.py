"""The examples run as a user would run them, only shorter, and show what they say they show."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test():
    tested = {"rebalance_table", "rebalance_images", "grid_search", "train_torchvision", "train_albumentations", "report"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested | {"medical_xrays"}
    assert [path.stem for path in EXAMPLES.glob("*.sh")] == ["rebalance_folder"], "tests/test_cli.py runs it"


def test_rebalance_table(capsys):
    summary = load("rebalance_table").main(n_splits=2)
    gain = summary["recall bad", "mean"]
    assert gain["ConditionalVAE"] > gain["as it is"] + 0.2, "rebalancing must move the rare class's recall"
    assert "Five synthetic applicants" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::augment_gen.errors.NoveltyWarning")
def test_rebalance_images(tmp_path, capsys):
    summary = load("rebalance_images").main(n_seeds=1, out=tmp_path)
    assert summary["rare", "mean"]["ConditionalVAE"] > summary["rare", "mean"]["as it is"] - 0.05
    picture = np.asarray(Image.open(tmp_path / "digits.png"))
    assert picture.shape == (10 * 10 * 4, 22 * 10 * 4) and picture[:, picture.shape[1] // 2 :].std() > 50


def test_grid_search(capsys):
    search, score = load("grid_search").main(max_steps=(30,))
    tried = search.cv_results_["params"]
    assert len(tried) == 8 and {type(params["augmenter"]).__name__ for params in tried} == {"NoneType", "ConditionalVAE"}
    assert score > 0.6, "better than guessing on held-out rows"
    assert "on 500 held-out rows" in capsys.readouterr().out


def test_train_torchvision(capsys):
    summary = load("train_torchvision").main(n_seeds=1, n_steps=60, max_steps=60)
    assert len(summary) == 6 and summary["all", "mean"].min() > 0.7, "every arm learns"
    assert summary.loc["oversampled, shifts", ("rare", "mean")] > summary.loc["as it is", ("rare", "mean")]
    printed = capsys.readouterr().out
    assert "puts 700 synthetic ones behind them" in printed
    assert "899 real images, never transformed, never seen by the generator" in printed


def test_train_torchvision_validates_on_real_images_only():
    """Each image of the validation part is one of scikit-learn's digits, and none of the training part."""
    train, valid = load("train_torchvision").load(12, seed=0)
    flat = lambda dataset: {image.numpy().tobytes() for image in dataset.tensors[0]}
    real = {(image * 255 / 16).round().astype(np.uint8).tobytes() for image in load_digits().images}
    assert flat(valid) <= real and not flat(valid) & flat(train)


def test_train_albumentations(capsys):
    summary = load("train_albumentations").main(n_seeds=1, n_steps=60, max_steps=60)
    assert len(summary) == 4 and summary["all", "mean"].min() > 0.7, "every pipeline learns"
    printed = capsys.readouterr().out
    assert "899 real images, only normalised, never seen by the generator" in printed
    assert "SyntheticReplace" not in printed.split("Validation:")[1].split("Recall")[0], "validation has a pipeline of its own"


def test_medical_xrays(tmp_path, capsys):
    """On the images that ship with the examples, so that it runs anywhere."""
    summary, (near, _) = load("medical_xrays").main(1, tmp_path, EXAMPLES / "data" / "xrays.npz", max_steps=100)
    assert summary["AUC", "mean"].min() > 0.7 and near < 0.6
    written = sorted((tmp_path / "xrays" / "pneumonia").glob("*.png"))
    assert len(written) == 100 and all(b"trainedAlgorithmicMedia" in path.read_bytes() for path in written)
    assert np.asarray(Image.open(tmp_path / "xrays.png")).shape == (2 * 28 * 3, 12 * 28 * 3)
    assert "100 normal, 16 pneumonia" in capsys.readouterr().out


def test_report(tmp_path, capsys):
    path = load("report").main(n_splits=2, out=tmp_path / "new" / "report.html", max_steps=20)
    text = path.read_text(encoding="utf-8")
    assert "German credit: synthetic applicants" in text and "Applicants of one German bank" in text
    assert "class weights" in text and "Report: " in capsys.readouterr().out
