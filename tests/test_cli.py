"""The command line, as a real process where that matters: what it writes, says and returns; an interruption loses nothing."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from augment_gen.cli import app
from augment_gen.errors import SkippedFilesWarning
from augment_gen.pipelines.folders import read_image_folder, write_image_folder
from augment_gen.pipelines.provenance import SYNTHETIC, file_hash, read_provenance
from augment_gen.pipelines.tables import read_table

ROOT = Path(__file__).parent.parent
CREDIT = ROOT / "examples" / "data" / "german_credit.csv"
COMMAND = [sys.executable, "-m", "augment_gen"]
QUICK = ["--steps", "5", "--device", "cpu"]


def process(*arguments, code=0):
    """Run the command as a process; returns (what it printed, what it complained)."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def run(*arguments, code=0):
    """As `process`, but in this one, which spares the seconds that importing torch takes."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code and isinstance(done.exception, (SystemExit, type(None))), done.output
    return done.stdout, done.stderr


def refused(*arguments, by=run):
    """Run what is a user's mistake; returns the one line that is complained."""
    _, complaint = by(*arguments, code=2)
    assert complaint.startswith("augment-gen: ") and complaint.count("\n") == 1, complaint
    return complaint


def contents(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """A class folder: 40 ones, 30 threes, 10 eights."""
    folder = tmp_path_factory.mktemp("digits") / "train"
    digits = load_digits()
    rows = np.concatenate([np.flatnonzero(digits.target == k)[:n] for k, n in ((1, 40), (3, 30), (8, 10))])
    write_image_folder(folder, (digits.images[rows] * 15.9375).astype(np.uint8), digits.target[rows], provenance=None)
    (folder / "manifest.csv").unlink()
    return folder


@pytest.fixture(scope="module")
def image_model(train, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "digits.safetensors"
    run("fit", train, "--out", path, *QUICK)
    return path


@pytest.fixture(scope="module")
def table_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "credit.safetensors"
    run("fit", CREDIT, "--target", "credit", "--out", path, *QUICK)
    return path


pytestmark = [
    pytest.mark.filterwarnings(f"ignore::augment_gen.errors.{name}")
    for name in ("NoveltyWarning", "CollapseWarning", "TrainingWarning")
]


# --------------------------------------------------------------------- help
def test_help_is_quick_and_needs_no_torch():
    code = (
        "import sys; from augment_gen import cli\ntry: cli.app(['rebalance', '-h'])\nfinally: assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    spent = lambda: resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime  # a busy machine's clock says nothing
    before = spent()
    text, _ = process("--help")
    assert spent() - before < 1, "measured .09 s"
    assert all(name in text for name in ("rebalance", "fit", "sample", "info", "Exit codes")) and len(text.splitlines()) < 25
    assert process("--version")[0].startswith("augment-gen 0.")


# ------------------------------------------------------------ class folders
def test_rebalance_copies_a_folder_and_adds_marked_images(train, tmp_path):
    before = contents(train)
    text, complaint = process("rebalance", train, "--out", tmp_path / "out", *QUICK)
    assert all(line.startswith("augment-gen: warning: ") for line in complaint.splitlines()), "one line each, no progress bar"
    assert [line.split() for line in text.splitlines()[1:4]] == [["1", "40", "0"], ["3", "30", "10"], ["8", "10", "30"]]
    after = contents(tmp_path / "out")
    assert contents(train) == before and before.items() <= after.items(), "real files are untouched, here and there"
    _, labels, files = read_image_folder(tmp_path / "out", return_files=True)
    assert dict(zip(*np.unique(labels, return_counts=True), strict=True)) == {"1": 40, "3": 40, "8": 40}
    synthetic = [file for file in files if read_provenance(file)]
    assert len(synthetic) == 40 and {read_provenance(file)["digitalSourceType"] for file in synthetic} == {SYNTHETIC}
    manifest = pd.read_csv(tmp_path / "out" / "manifest.csv")
    assert set(manifest["file"]) | {"manifest.csv"} == set(after), "nothing else is left, and nothing is unlisted"
    assert (manifest["synthetic"] == "yes").sum() == 40
    table = run("info", tmp_path / "out")[0]
    assert "120 images in 3 classes" in table and "8    10         30" in table
    assert "are synthetic themselves" in refused("rebalance", tmp_path / "out", "--out", tmp_path / "again", *QUICK, by=process)


def test_options_of_rebalance(train, tmp_path):
    options = ["--synthetic-only", "--strategy", "8=25", "--size", "12x10", "--seed", "3"]
    for out in ("one", "two"):
        run("rebalance", train, "--out", tmp_path / out, *options, *QUICK)
    assert contents(tmp_path / "one") == contents(tmp_path / "two"), "the same seed gives the same files"
    images, labels = read_image_folder(tmp_path / "one")
    assert images.shape == (15, 12, 10) and set(labels) == {"8"}


def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(train, tmp_path):
    command = ["rebalance", train, "--strategy", "8=900", *QUICK, "--out"]
    run(*command, tmp_path / "whole")
    out = tmp_path / "part"
    started = subprocess.Popen([*COMMAND, *map(str, command), str(out)], stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("8/synthetic*"))) < 100 and started.poll() is None:
        time.sleep(0.005)
    started.send_signal(signal.SIGINT)
    complaint = started.communicate()[1]
    assert started.returncode == 130 and "same command goes on" in complaint and "Traceback" not in complaint
    n_left = len(list(out.glob("8/synthetic*.png")))
    assert 100 <= n_left < 890 and not (out / "manifest.csv").exists()
    assert "unfinished" in run("info", out)[0]
    assert "differs in random_state, seed" in refused(*command, out, "--seed", 1)
    left = {file: file.stat().st_mtime_ns for file in out.glob("*/*.png")}
    (out / "8" / ".x.png.abc.part").write_text("of a killed process")
    process(*command, out)
    assert contents(out) == contents(tmp_path / "whole")
    assert all(file.stat().st_mtime_ns == then for file, then in left.items()), "finished files are not written again"


def test_force_replaces_only_what_was_written_before(train, tmp_path):
    out = tmp_path / "out"
    run("rebalance", train, "--out", out, *QUICK)
    assert "is not empty" in refused("rebalance", train, "--out", out, *QUICK)
    (out / "8" / "mine.txt").write_text("kept")
    run("rebalance", train, "--out", out, *QUICK, "--force", "--seed", 1)
    run("rebalance", train, "--out", tmp_path / "fresh", *QUICK, "--seed", 1)
    assert contents(out) == contents(tmp_path / "fresh") | {"8/mine.txt": b"kept"}


def test_a_hostile_manifest_deletes_nothing_outside(train, tmp_path):
    out, precious = tmp_path / "out", tmp_path / "precious.png"
    run("rebalance", train, "--out", out, *QUICK)
    precious.write_text("kept")
    with open(out / "manifest.csv", "a") as file:
        file.write(f"../precious.png,8,yes,0,x,y,z\n{precious},8,yes,0,x,y,z\n")
    run("rebalance", train, "--out", out, *QUICK, "--force")
    assert precious.read_text() == "kept"


def test_the_input_folder_is_never_written_to(train, tmp_path):
    before = contents(train)
    link = tmp_path / "link"
    link.symlink_to(train)
    for out in (train, train / "new", train / "8", link, link / "x", train.parent):
        assert "lies in the input" in refused("rebalance", train, "--out", out, "--force", *QUICK)
    assert "lies in the input" in refused("fit", train, "--out", train / "m.safetensors", *QUICK)
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in "138":
        (linked / name).symlink_to(train / name)
    assert "lies in the input" in refused("rebalance", linked, "--out", train / "8" / "out", *QUICK)
    assert contents(train) == before


def test_folders_that_cannot_be_used(train, tmp_path):
    assert "no folder" in refused("rebalance", tmp_path / "gone", "--out", tmp_path / "o", *QUICK)
    one = tmp_path / "one"
    one.mkdir()
    assert "is no class folder" in refused("rebalance", one, "--out", tmp_path / "o", *QUICK)
    (one / "1").symlink_to(train / "1")
    assert "class" in refused("rebalance", one, "--out", tmp_path / "o", *QUICK)
    (one / "3").mkdir()
    assert "No readable image" in refused("fit", one, "--out", tmp_path / "m", *QUICK)
    (one / "3" / "bad.png").write_text("no image")
    assert "bad.png: no PNG" in (text := refused("fit", one, "--out", tmp_path / "m", *QUICK)) and "--on-error skip" in text
    assert "tables" in refused("fit", train, "--target", "x", "--out", tmp_path / "m", *QUICK)
    assert "device='abc'" in refused("fit", train, "--out", tmp_path / "m", "--steps", 5, "--device", "abc")
    assert "48x64" in refused("fit", train, "--out", tmp_path / "m", "--size", "huge", *QUICK)
    assert not (tmp_path / "m").exists()


def test_unreadable_images_are_left_out_when_asked(train, tmp_path):
    source = tmp_path / "train"
    for name, body in contents(train).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(body)
    (source / "8" / "bad.png").write_bytes((source / "8" / "000000.png").read_bytes()[:60])
    with pytest.warns(SkippedFilesWarning, match="Left out 1 unreadable.*bad.png"):
        run("rebalance", source, "--out", tmp_path / "out", "--on-error", "skip", *QUICK)
    assert not (tmp_path / "out" / "8" / "bad.png").exists() and len(list((tmp_path / "out" / "8").iterdir())) == 40


# ----------------------------------------------------------- fit and sample
def test_samples_of_images_are_what_was_asked_for(image_model, tmp_path):
    run("sample", image_model, "--label", "8", "--n", 300, "--out", tmp_path / "a", "--seed", 5)
    run("sample", image_model, "--counts", "8=2,1=3", "--out", tmp_path / "b")
    run("sample", image_model, "--n", 8, "--out", tmp_path / "c")
    images, labels, files = read_image_folder(tmp_path / "a", return_files=True)
    assert images.shape == (300, 8, 8) and images.dtype == np.uint8 and set(labels) == {"8"}
    assert len(np.unique(images, axis=0)) > 290, "pages of noise do not repeat"
    record = read_provenance(files[0])
    assert (record["seed"], record["model"]) == (5, file_hash(image_model))
    assert np.unique(read_image_folder(tmp_path / "b")[1], return_counts=True)[1].tolist() == [3, 2]
    assert np.unique(read_image_folder(tmp_path / "c")[1], return_counts=True)[1].tolist() == [4, 3, 1]
    assert "8 x 8 pixels, 1 channel, uint8" in run("info", image_model)[0]


def test_requests_that_cannot_be_met(image_model, table_model, tmp_path):
    out = tmp_path / "out"
    assert "'7', which was not seen in fit. Known labels: '1'" in refused(
        "sample", image_model, "--label", 7, "-n", 1, "--out", out
    )
    assert "either --counts, or --n" in refused("sample", image_model, "--label", 8, "--out", out)
    assert 'like "melanoma=200' in refused("sample", image_model, "--counts", "8:3", "--out", out)
    assert "name must end in .csv" in refused("sample", table_model, "-n", 3, "--out", out)
    assert "--mark is for tables" in refused("sample", image_model, "-n", 3, "--out", out, "--mark", "x")
    assert "There is no model file" in refused("sample", tmp_path / "gone", "-n", 3, "--out", out)
    assert "is no model file" in refused("info", __file__)
    assert not out.exists()
    assert "exists" in refused("fit", CREDIT, "--target", "credit", "--out", table_model, *QUICK)
    assert "Missing option" in run("fit", CREDIT, code=2)[1]


def test_samples_of_tables_have_the_columns_of_the_table(table_model, tmp_path):
    run("sample", table_model, "--label", "bad", "--n", 7, "--out", tmp_path / "a.csv")
    run("sample", table_model, "--counts", "bad=2,good=1", "--out", tmp_path / "a.parquet", "--mark", "drawn")
    drawn, credit = read_table(tmp_path / "a.csv").frame, read_table(CREDIT).frame
    assert drawn.columns.tolist() == credit.columns.tolist() and drawn["credit"].tolist() == ["bad"] * 7
    assert pd.read_parquet(tmp_path / "a.parquet")["drawn"].tolist() == [True] * 3
    assert read_provenance(tmp_path / "a.parquet")["model"] == file_hash(table_model)
    assert "target 'credit'" in run("info", table_model)[0]


# ------------------------------------------------------------------- tables
def test_rebalanced_csv_keeps_real_cells_and_says_which_rows_are_synthetic_beside_it(tmp_path):
    out = tmp_path / "out.csv"
    run("rebalance", CREDIT, "--out", out, "--target", "credit", *QUICK)
    real, text = CREDIT.read_text().splitlines(), out.read_text().splitlines()
    assert text[: len(real)] == real and len(text) == 1401
    assert read_table(out).frame["credit"].iloc[1000:].tolist() == ["bad"] * 400
    record = read_provenance(out)
    assert (record["digitalSourceType"], record["first_synthetic_row"], record["synthetic_rows"]) == (SYNTHETIC, 1000, 400)
    assert "400 rows, from row 1000" in run("info", out, "--target", "credit")[0]
    assert "exists" in refused("rebalance", CREDIT, "--out", out, "--target", "credit", *QUICK)
    assert "synthetic rows already" in refused("rebalance", out, "--out", tmp_path / "x.csv", "--target", "credit", *QUICK)
    run("rebalance", CREDIT, "--out", out, "--target", "credit", "--force", "--strategy", "bad=301", *QUICK, "--mark", "drawn")
    assert pd.read_csv(out)["drawn"].tolist() == [False] * 1000 + [True]


def test_rebalanced_parquet_keeps_types_and_rows(tmp_path, mixed):
    X, y = mixed
    frame = X.assign(diagnosis=y)
    frame.index = pd.Index([f"patient {i}" for i in range(len(frame))], name="id")
    frame.to_parquet(tmp_path / "in.parquet")
    frame = pd.read_parquet(tmp_path / "in.parquet")
    run("rebalance", tmp_path / "in.parquet", "--out", tmp_path / "out.parquet", "--target", "diagnosis", *QUICK)
    out = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(out.iloc[: len(frame)], frame)
    assert out["diagnosis"].value_counts().nunique() == 1 and (out.dtypes == frame.dtypes).all()
    assert out.index[len(frame) :].isna().all(), "an identifier is nothing to be drawn"
    assert read_provenance(tmp_path / "out.parquet")["first_synthetic_row"] == len(frame)


def test_cells_are_read_as_what_they_mean(tmp_path):
    text = "code;n;x;flag;empty\n007;1;1.50;true;\n010;NA;?;false;\n123;3;-2e3;true;\n"
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    frame = read_table(tmp_path / "t.csv").frame
    assert frame["code"].tolist() == ["007", "010", "123"] and frame["flag"].tolist() == ["true", "false", "true"]
    assert frame["n"].dtype == "Int64" and frame["n"].isna().tolist() == [False, True, False]
    assert frame["x"].dtype == float and frame["x"].isna().tolist() == [False, True, False] and frame["empty"].isna().all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "cannot be read as CSV"),
        (b"a,b\n", "has no rows"),
        (b"a,a\n1,2\n", "several columns 'a'"),
        (b"a,b\n1,2,3\n4,5,6\n", "cannot be read as CSV"),
        (b"a,b\n\xe9,2\n", "not in UTF-8"),
        (b"a,b\n1,2\n3,4\n", "no column 'y'. The columns are: a, b"),
        (b"y\n1\n2\n", "only column"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, body, message):
    (tmp_path / "t.csv").write_bytes(body)
    assert message in refused("rebalance", tmp_path / "t.csv", "--out", tmp_path / "o.csv", "--target", "y", *QUICK)
    assert os.listdir(tmp_path) == ["t.csv"]


def test_what_is_wrong_with_a_request_for_a_table(tmp_path):
    out = tmp_path / "o.csv"
    assert "--target. The columns are: checking" in refused("rebalance", CREDIT, "--out", out, *QUICK)
    assert "lies in the input" in refused("rebalance", CREDIT, "--out", CREDIT, "--target", "credit", "--force", *QUICK)
    assert "must end in .csv or .parquet" in refused("rebalance", CREDIT, "--out", tmp_path / "o", "--target", "credit", *QUICK)
    assert "--mark 'age' is already" in refused(
        "rebalance", CREDIT, "--out", out, "--target", "credit", "--mark", "age", *QUICK
    )
    asked = ["rebalance", CREDIT, "--out", out, "--target", "credit", *QUICK, "--strategy"]
    assert "--strategy asks for 'ugly'" in refused(*asked, "ugly=3")
    assert "--strategy must be one of auto" in refused(*asked, "best") and "0.9" in refused(*asked, "-2")
    assert "no folder" in refused("rebalance", ROOT / "gone", "--out", out, *QUICK)
    (tmp_path / "bad.parquet").write_text("no parquet")
    assert "cannot be read as Parquet" in refused("info", tmp_path / "bad.parquet")
    assert not out.exists()


# ------------------------------------------------------------------ example
def test_rebalance_folder_example(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = ["sh", str(ROOT / "examples" / "rebalance_folder.sh"), str(tmp_path), *QUICK]
    printed = subprocess.run(script, check=True, env=environment, capture_output=True, text=True).stdout
    assert "180 images in 3 classes" in printed
    counts = pd.read_csv(tmp_path / "balanced" / "manifest.csv").groupby(["label", "synthetic"]).size()
    assert counts.to_dict() == {(1, "no"): 60, (3, "no"): 60, (8, "no"): 12, (8, "yes"): 48}
