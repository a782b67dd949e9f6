"""``augment-gen evaluate`` and ``augment-gen report``: what they write, say, and refuse before any work is done."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from augment_gen import ConditionalVAE
from augment_gen.cli_judge import Scoring, app
from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.evaluation import SCORES, features
from augment_gen.pipelines.folders import write_image_folder
from augment_gen.report import full_report

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
CREDIT = Path(__file__).parent.parent / "examples" / "data" / "german_credit.csv"
COLUMNS = ["duration", "amount", "checking", "age", "credit"]
QUICK = ["--steps", "5", "--device", "cpu"]
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::augment_gen.errors.{name}")
    for name in ("NoveltyWarning", "CollapseWarning", "TrainingWarning")
]


def run(*arguments, code=0):
    """Run the command in this process; returns (what it printed, what it complained)."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code and isinstance(done.exception, (SystemExit, type(None))), (done.output, done.exception)
    return done.stdout, done.stderr


def refused(*arguments):
    """Run what is a user's mistake; returns the one line that is complained."""
    complaint = run(*arguments, code=2)[1]
    assert complaint.startswith("augment-gen: ") and complaint.count("\n") == 1, complaint
    return complaint


@pytest.fixture(scope="module")
def credit(tmp_path_factory):
    """A folder with train.csv, test.csv and model.safetensors."""
    folder = tmp_path_factory.mktemp("credit")
    table = pd.read_csv(CREDIT)[COLUMNS].sample(300, random_state=0)
    table.iloc[:200].to_csv(folder / "train.csv", index=False)
    table.iloc[200:].to_csv(folder / "test.csv", index=False)
    run("fit", folder / "train.csv", "--target", "credit", "--out", folder / "model.safetensors", *QUICK)
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A class folder of 60 ones and 30 threes."""
    folder = tmp_path_factory.mktemp("digits") / "train"
    data = load_digits()
    rows = np.concatenate([np.flatnonzero(data.target == k)[:n] for k, n in ((1, 60), (3, 30))])
    write_image_folder(folder, (data.images[rows] * 15.9375).astype(np.uint8), data.target[rows], provenance=None)
    return folder


# ------------------------------------------------------------------ evaluate
def test_evaluate_says_and_writes_what_it_found(credit, tmp_path):
    out, figures = tmp_path / "report.html", tmp_path / "figures.csv"
    command = ["evaluate", *(credit / name for name in ("model.safetensors", "train.csv", "test.csv")), "--target", "credit"]
    text, _ = run(*command, "--out", out, "--figures", figures, "--plots", tmp_path / "plots", "--title", "Credits")
    assert "tree classifier" in text and "proof of privacy" in text and f"Written to {out}" in text
    assert "<title>Credits</title>" in out.read_text(encoding="utf-8") and (tmp_path / "plots" / "quality.png").exists()
    assert {"metric", "value", "floor", "ceiling"} <= set(pd.read_csv(figures).columns)
    assert "exists" in refused(*command, "--out", out) and "--force" in refused(*command, "--out", out)
    assert "needs --out" in refused(*command, "--plots", tmp_path / "more")
    assert "Written" not in run(*command)[0], "a report is not needed to know"


def test_evaluate_refuses_data_of_another_kind(credit, digits):
    assert "draws tables" in refused("evaluate", credit / "model.safetensors", digits, digits)
    assert "--target" in refused("evaluate", credit / "model.safetensors", credit / "train.csv", credit / "test.csv")


# -------------------------------------------------------------------- report
def test_report_on_a_table(credit, tmp_path):
    out, kept = tmp_path / "report.html", tmp_path / "cells.jsonl"
    command = ["report", credit / "train.csv", "--target", "credit", "--out", out, "--splits", 2, "--checkpoint", kept, *QUICK]
    text, _ = run(*command, "--test", credit / "test.csv")
    assert "ConditionalVAE" in text and "2 splits of 100" in text and "tree classifier" in text
    page = out.read_text(encoding="utf-8")
    assert (
        "All arms, the best first" in page and "shows single training rows" in page and len(kept.read_text().splitlines()) > 4
    )
    assert "exists" in refused(*command)


def test_report_on_images(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "N_STEPS", 20)
    out = tmp_path / "report.html"
    text, _ = run("report", digits, "--out", out, "--no-compare", "--no-real-rows", "--size", 12, *QUICK)
    assert "too few held-out rows" in text, "27 images say little"
    page = out.read_text(encoding="utf-8")
    assert "real images of class" not in page and "synthetic images of class 3" in page and "Not measured" in page


def test_mistakes_are_one_line_and_come_before_the_work(credit, digits, tmp_path):
    table, out = credit / "train.csv", tmp_path / "report.html"
    assert "no folder" in refused("report", table, "--target", "credit", "--out", tmp_path / "nowhere" / "report.html")
    assert "--target" in refused("report", table, "--target", "credit", "--out", out, "--test", digits)
    assert "--test-share must lie" in refused("report", table, "--target", "credit", "--out", out, "--test-share", 2)
    assert "There is no column" in refused("report", table, "--target", "nothing", "--out", out)
    assert not list(tmp_path.iterdir())


def test_help_names_the_commands_without_torch():
    code = (
        "import sys; from augment_gen import cli_judge as c\n"
        "try: c.app(['report', '-h'])\nfinally: assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    text = subprocess.run([sys.executable, "-m", "augment_gen", "-h"], check=True, capture_output=True, text=True).stdout
    assert "evaluate" in text and "report" in text and "rebalance" in text


def test_scores_are_those_of_the_library():
    assert [one.value for one in Scoring] == list(SCORES)


# -------------------------------------------------------------- full_report
def test_held_out_rows_are_not_trained_on(credit, tmp_path):
    table = pd.read_csv(credit / "train.csv")
    X, y = table.drop(columns="credit"), table["credit"]
    generator = ConditionalVAE(max_steps=5, device="cpu", random_state=0)
    found = full_report(tmp_path / "report.html", generator, X, y, with_comparison=False, test_share=0.25)
    assert found.generation.n_train == 150 and found.generation.n_test == 50 and len(found.X_train) == 150
    assert not hasattr(generator, "classes_"), "the caller's own is left as it is"
    assert found.y_train.value_counts(normalize=True)["bad"] == pytest.approx(y.value_counts(normalize=True)["bad"], abs=0.01)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"y": ["a"] * 195 + ["b"] * 5}, InvalidDataError, "Class 'b' has 5 rows"),
        ({"X_test": 3}, InvalidDataError, "both X_test and y_test"),
        ({"test_share": 0}, InvalidParameterError, "test_share must lie"),
        ({"n_splits": 1}, InvalidParameterError, "n_splits must be an int above 1"),
        ({"max_rows": "all"}, InvalidParameterError, "max_rows must be"),
        ({"y": ["a"]}, InvalidDataError, "200 rows, but y 1"),
    ],
)
def test_bad_input(credit, tmp_path, changes, error, said):
    table = pd.read_csv(credit / "train.csv")
    arguments = {"X": table.drop(columns="credit"), "y": table["credit"], **changes}
    with pytest.raises(error, match=said):
        full_report(tmp_path / "report.html", ConditionalVAE(max_steps=5), **arguments)
