"""The command line, as a real process where that matters: what it writes, says and returns; an interruption loses nothing."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from augment_gen import ConditionalVAE, cli, load
from augment_gen.cli import app
from augment_gen.errors import InvalidDataError, InvalidRequestError, SkippedFilesWarning
from augment_gen.persistence import ASIDE
from augment_gen.pipelines.filling import rebalance_folder, sample_folder
from augment_gen.pipelines.folders import read_image_folder, write_image_folder
from augment_gen.pipelines.provenance import SYNTHETIC, file_hash, read_provenance
from augment_gen.pipelines.tables import read_table, rebalance_table, sample_table

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


def refused(*arguments):
    """Run what is a user's mistake; returns the one line that is complained."""
    _, complaint = run(*arguments, code=2)
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
    assert "are synthetic themselves" in refused("rebalance", tmp_path / "out", "--out", tmp_path / "again", *QUICK)


def test_options_of_rebalance(train, tmp_path):
    options = ["--synthetic-only", "--strategy", "8=25", "--size", "12x10", "--seed", "3"]
    for out in ("one", "two"):
        run("rebalance", train, "--out", tmp_path / out, *options, *QUICK)
    assert contents(tmp_path / "one") == contents(tmp_path / "two"), "the same seed gives the same files"
    images, labels = read_image_folder(tmp_path / "one")
    assert images.shape == (15, 12, 10) and set(labels) == {"8"}


@pytest.mark.parametrize("model", ["gan", "warp", "elastic"])
def test_every_model_draws_images_and_those_for_images_refuse_tables(train, tmp_path, model):
    run("rebalance", train, "--out", tmp_path / "out", *QUICK, "--model", model)
    assert len(list((tmp_path / "out" / "8").glob("synthetic*"))) == 30
    if model != "gan":
        command = ["rebalance", CREDIT, "--out", tmp_path / "o.csv", "--target", "credit", *QUICK, "--model", model]
        assert "deforms images" in refused(*command)


def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(train, tmp_path):
    command = ["rebalance", train, "--strategy", "8=1500", *QUICK, "--out"]
    run(*command, tmp_path / "whole")
    out = tmp_path / "part"
    started = subprocess.Popen([*COMMAND, *map(str, command), str(out)], stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("8/synthetic*"))) < 100 and started.poll() is None:
        time.sleep(0.005)
    started.send_signal(signal.SIGINT)
    complaint = started.communicate()[1]
    assert started.returncode == 130 and "same command goes on" in complaint and "Traceback" not in complaint
    n_left = len(list(out.glob("8/synthetic*.png")))
    assert 100 <= n_left < 1490 and not (out / "manifest.csv").exists()
    assert "unfinished" in run("info", out)[0]
    assert "differs in random_state, seed" in refused(*command, out, "--seed", 1)
    left = {file: file.stat().st_mtime_ns for file in out.glob("*/*.png")}
    (out / "8" / f"{ASIDE}0123.part").write_text("of a killed process")
    mine = {"8/.download.part": b"kept", f"notes/{ASIDE}1.part": b"kept"}
    (out / "notes").mkdir()
    for name, body in mine.items():
        (out / name).write_bytes(body)
    run(*command, out)
    assert contents(out) == contents(tmp_path / "whole") | mine
    assert all(file.stat().st_mtime_ns == then for file, then in left.items()), "finished files are not written again"


def test_force_replaces_only_what_was_written_before(train, tmp_path):
    out = tmp_path / "out"
    run("rebalance", train, "--out", out, *QUICK)
    assert "is not empty" in refused("rebalance", train, "--out", out, *QUICK)
    (out / "8" / "mine.txt").write_text("kept")
    run("rebalance", train, "--out", out, *QUICK, "--force", "--seed", 1)
    run("rebalance", train, "--out", tmp_path / "fresh", *QUICK, "--seed", 1)
    assert contents(out) == contents(tmp_path / "fresh") | {"8/mine.txt": b"kept"}


@pytest.mark.parametrize(
    ("error", "code", "said"), [(KeyboardInterrupt(), 130, "starts again"), (OSError(28, "No space left"), 1, "No space left")]
)
def test_a_run_that_stopped_between_model_and_plan_starts_again(train, tmp_path, monkeypatch, error, code, said):
    def stop(*_):
        raise error

    command, out = ["rebalance", train, "--out", tmp_path / "out", *QUICK], tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("augment_gen.pipelines.output_folder.write_manifest", stop)
        assert said in run(*command, code=code)[1]
    assert {file.name for file in out.iterdir()} == {"unfinished.json", "unfinished.safetensors"}
    run(*command)
    assert len(list(out.glob("*/*.png"))) == 120 and not list(out.glob("unfinished*"))


def test_force_removes_nothing_before_the_new_generator_is_trained(train, tmp_path):
    out, bad = tmp_path / "out", tmp_path / "bad"
    run("rebalance", train, "--out", out, *QUICK)
    before = contents(out)
    shutil.copytree(train, bad)
    (bad / "8" / "bad.png").write_text("no image")
    assert "bad.png" in refused("rebalance", bad, "--out", out, *QUICK, "--force")
    (bad / "8" / "bad.png").unlink()
    (bad / "8" / "mine.png").write_bytes((bad / "8" / "000000.png").read_bytes())
    (out / "8" / "mine.png").write_bytes(b"kept")
    assert "mine.png' exists" in refused("rebalance", bad, "--out", out, *QUICK, "--force")
    assert contents(out) == before | {"8/mine.png": b"kept"}
    (out / "manifest.csv").write_text("a,b\n1,2\n")
    assert "no manifest of augment_gen" in refused("rebalance", train, "--out", out, *QUICK, "--force")


def test_a_mistake_in_a_call_is_found_before_anything_is_trained(train, image_model, tmp_path):
    untrained = ConditionalVAE(max_steps=10**9, device="cpu")
    for seed in (None, -1):
        with pytest.raises(InvalidRequestError, match="seed"):
            rebalance_folder(train, tmp_path / "o", untrained, seed=seed)
        with pytest.raises(InvalidRequestError, match="seed"):
            rebalance_table(CREDIT, tmp_path / "o.csv", untrained, "credit", seed=seed)
    generator = load(image_model)
    for counts in ({}, {"1": -3}, {"1": 2.5}, {"1": True}, 5):
        with pytest.raises(InvalidRequestError, match="counts"):
            sample_folder(generator, tmp_path / "o", counts, model=image_model)
    assert not os.listdir(tmp_path)
    found = sample_folder(generator, tmp_path / "o", {"1": np.int64(2)}, seed=np.int64(3), model=image_model)
    assert found["synthetic"].tolist() == [2]


def test_a_hostile_manifest_deletes_nothing_outside(train, tmp_path):
    out, precious = tmp_path / "out", tmp_path / "precious.png"
    run("rebalance", train, "--out", out, *QUICK)
    precious.write_text("kept")
    with open(out / "manifest.csv", "a") as file:
        file.write(f"../precious.png,8,yes,0,x,y,z\n{precious},8,yes,0,x,y,z\n")
    assert "is damaged in line" in refused("rebalance", train, "--out", out, *QUICK, "--force")
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
    run("sample", image_model, "--n", 8, "--out", tmp_path / "c", "--device", "cpu")
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
    assert "names a label twice" in refused("sample", image_model, "--counts", "8=1,8=2", "--out", out)
    assert "device='abc'" in refused("sample", image_model, "-n", 1, "--out", out, "--device", "abc")
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


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (pa.decimal128(10, 2), [Decimal(i) / 4 for i in range(60)]),
        (pa.decimal256(40, 0), [None if i % 9 == 0 else 10**38 + i for i in range(60)]),
        (pa.int64(), [None if i % 9 == 0 else i for i in range(60)]),
        (pa.duration("us"), list(range(60))),
    ],
)
def test_parquet_columns_of_every_kind_are_drawn_in_their_own_type(tmp_path, kind, cells):
    table = parquet_of(tmp_path / "in.parquet", kind, cells)
    run("rebalance", tmp_path / "in.parquet", "--out", tmp_path / "out.parquet", "--target", "y", *QUICK)
    out = parquet.read_table(tmp_path / "out.parquet")
    assert len(out) == 80 and out.slice(0, 60).equals(table) and out.schema.field("c").type == kind
    run("rebalance", tmp_path / "in.parquet", "--out", tmp_path / "out.csv", "--target", "y", *QUICK)
    if pa.types.is_decimal(kind):
        written = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)["c"][:60]
        assert written.tolist() == ["" if cell is None else str(cell) for cell in table["c"].to_pylist()], "not rounded"


@pytest.mark.parametrize(
    ("kind", "cells"), [(pa.time32("s"), range(60)), (pa.binary(), [b"x"] * 60), (pa.list_(pa.int64()), [[1]] * 60)]
)
def test_parquet_columns_that_no_model_file_can_hold_are_refused_before_anything_is_trained(tmp_path, kind, cells):
    parquet_of(tmp_path / "in.parquet", kind, list(cells))
    with pytest.raises(InvalidDataError, match="'c' is of type (time32|binary|list)"):
        rebalance_table(tmp_path / "in.parquet", tmp_path / "out.csv", ConditionalVAE(max_steps=10**9), "y")


def parquet_of(path, kind, cells):
    """60 rows: a number, the column c, and y with 40 "a" and 20 "b"."""
    table = pa.table({"x": pa.array(np.arange(60.0)), "c": pa.array(cells, kind), "y": pa.array(["a"] * 40 + ["b"] * 20)})
    parquet.write_table(table, path)
    return parquet.read_table(path)


def csv_of(path, header, row):
    """60 rows, each ``row(i)`` and behind it the label."""
    path.write_text("\n".join([header, *(f"{row(i)}{'2.00' if i % 3 else '1.00'}" for i in range(60))]) + "\n")
    return path


def test_labels_are_spelled_in_synthetic_rows_as_in_real_ones(tmp_path):
    source = csv_of(tmp_path / "t.csv", "x,y", lambda i: f"{i},")
    for out, options in ((tmp_path / "all.csv", []), (tmp_path / "new.csv", ["--synthetic-only"])):
        run("rebalance", source, "--out", out, "--target", "y", *QUICK, *options)
        assert set(pd.read_csv(out, dtype=str)["y"]) <= {"1.00", "2.00"}
    assert len(pd.read_csv(tmp_path / "all.csv")) == 80


def test_numbers_beyond_64_bits_with_gaps_and_large_ones_within(tmp_path):
    row = lambda i: f"{'NA' if i % 9 == 0 else 18446744073709551000 + i},{'' if i % 9 == 0 else 2**60 + i},"
    source = csv_of(tmp_path / "t.csv", "u,i,y", row)
    run("rebalance", source, "--out", tmp_path / "out.csv", "--target", "y", *QUICK)
    assert (tmp_path / "out.csv").read_text().startswith(source.read_text())
    assert read_table(source).frame["i"].dropna().tolist() == [2**60 + i for i in range(60) if i % 9]


@pytest.mark.parametrize("header", ['"height, cm";"weight, kg";y', '"a,b;c,""d\t";e;y'])
def test_separators_in_quotes_separate_nothing_going_in_and_coming_out(tmp_path, header):
    source = csv_of(tmp_path / "t.csv", header, lambda i: f"{i};{i % 7};")
    run("rebalance", source, "--out", tmp_path / "out.csv", "--target", "y", *QUICK)
    columns = [read_table(tmp_path / name).frame.columns.tolist() for name in ("t.csv", "out.csv")]
    assert columns[0] == columns[1] and len(columns[0]) == 3


def test_no_column_of_samples_takes_the_name_of_another(tmp_path):
    frame = pd.DataFrame({"label": np.arange(60.0), "z": np.arange(60)})
    for name, target in ((None, "label_"), ("z", "z_"), ("y", "y")):
        y = pd.Series(np.repeat(["a", "b"], 30), name=name)
        generator = ConditionalVAE(max_steps=2, random_state=0, device="cpu").fit(frame, y)
        generator.save(tmp_path / "m")
        sample_table(generator, tmp_path / "o.csv", {"a": 3}, model=tmp_path / "m", force=True)
        drawn = pd.read_csv(tmp_path / "o.csv")
        assert drawn.columns.tolist() == ["label", "z", target] and drawn["label"].dtype == float
        assert drawn[target].tolist() == ["a"] * 3 and read_provenance(tmp_path / "o.csv")["target"] == target


def test_somebody_elses_file_beside_a_csv_is_kept(table_model, tmp_path):
    (tmp_path / "o.csv.provenance.json").write_text("mine")
    assert "provenance.json' exists" in refused("sample", table_model, "-n", 3, "--out", tmp_path / "o.csv")
    assert os.listdir(tmp_path) == ["o.csv.provenance.json"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), TypeError("an odd value")])
def test_a_failure_that_is_not_ours_is_one_line_too(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("augment_gen.pipelines.tables.rebalance_table", fail)
    complaint = run("rebalance", CREDIT, "--out", tmp_path / "o.csv", "--target", "credit", *QUICK, code=1)[1]
    assert complaint == f"augment-gen: {type(error).__name__}: {error}\n"


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


def test_an_interruption_while_torch_is_half_imported_is_one_line(tmp_path, monkeypatch):
    """Torch cannot be imported twice, not even to find out how far the run got."""
    monkeypatch.setitem(sys.modules, "augment_gen.pipelines.output_folder", None)
    assert cli._interrupted(tmp_path, force=False) == "Interrupted before anything was done. The same command starts again."


def test_a_table_for_a_folder_that_is_not_there_is_refused_before_anything_is_trained(tmp_path):
    said = refused("rebalance", CREDIT, "--target", "credit", "--out", tmp_path / "nowhere" / "x.csv", "--steps", 10**9)
    assert "There is no folder" in said and "nowhere" in said
