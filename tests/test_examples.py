"""The examples run as a user would run them, only shorter, and show what they say they show."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test():
    tested = {"rebalance_table", "rebalance_images"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


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
