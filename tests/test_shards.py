"""Sharded sampling: the same files whoever draws them, and what is there and whole is not drawn again."""

import io
import json
import os
import subprocess
import sys
import tarfile

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from augment_gen import ConditionalVAE, load
from augment_gen.cli import app
from augment_gen.distributed import worker
from augment_gen.errors import InvalidDataError, InvalidRequestError, OutputExistsError
from augment_gen.pipelines.filling import by_frequency
from augment_gen.pipelines.provenance import SYNTHETIC, file_hash, read_provenance
from augment_gen.pipelines.shards import progress, sample_shards

COUNTS = {"malignant": 31, "benign": 8}


@pytest.fixture(scope="module")
def table_model(mixed, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "table.safetensors"
    ConditionalVAE(max_steps=10, random_state=0, device="cpu").fit(*mixed).save(path)
    return path


@pytest.fixture(scope="module")
def image_model(digit_generator, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "digits.safetensors"
    digit_generator.save(path)
    return path


def draw(model, out, counts=None, n_shards=5, **options):
    return sample_shards(load(model), out, COUNTS if counts is None else counts, n_shards, model=model, seed=7, **options)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_one_worker_and_two_in_any_order_write_the_same_bytes(table_model, tmp_path):
    alone = draw(table_model, tmp_path / "alone")
    assert len(draw(table_model, tmp_path / "shared", worker=(1, 2))) == 2, "shards 1 and 3"
    assert not (tmp_path / "shared" / "_manifest.json").exists() and progress(tmp_path / "shared") == (2, 5)
    together = draw(table_model, tmp_path / "shared", worker=(0, 2))
    pd.testing.assert_frame_equal(alone, together)
    assert contents(tmp_path / "alone") == contents(tmp_path / "shared") and progress(tmp_path / "shared") is None


def test_a_folder_of_parts_is_one_table_of_exactly_what_was_asked_for(table_model, mixed, tmp_path):
    found = draw(table_model, tmp_path / "out")
    drawn = pd.read_parquet(tmp_path / "out")
    assert drawn["diagnosis"].value_counts().to_dict() == COUNTS
    assert drawn.drop(columns="diagnosis").columns.tolist() == mixed[0].columns.tolist()
    assert found["rows"].tolist() == [8, 8, 8, 8, 7]
    parts = [pd.read_parquet(tmp_path / "out" / name) for name in found["file"]]
    assert {(part["diagnosis"] == "benign").sum() for part in parts} <= {1, 2}
    assert not parts[0].drop(columns="diagnosis").head(7).equals(parts[1].drop(columns="diagnosis").head(7)), "a seed per shard"
    record = read_provenance(tmp_path / "out" / "shard-000003.parquet")
    assert record["digitalSourceType"] == SYNTHETIC and record["shard"] == 3 and record["seed"] == 7
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert manifest["model"] == file_hash(table_model) and manifest["counts"] == [["malignant", 31], ["benign", 8]]
    assert manifest["shards"] == found.to_dict("records")


def test_images_are_read_as_webdataset_does_and_say_what_they_are(image_model, tmp_path):
    draw(image_model, tmp_path / "out", {3: 5, 8: 3}, n_shards=2)
    labels = []
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        keys = list(dict.fromkeys(name.split(".")[0] for name in members))
        assert list(members) == [f"{key}.{kind}" for key in keys for kind in ("png", "cls")]
        for key in keys:
            image = Image.open(io.BytesIO(members[f"{key}.png"]))
            assert image.size == (8, 8) and json.loads(image.info["augment_gen"])["digitalSourceType"] == SYNTHETIC
            labels.append(int(members[f"{key}.cls"]))
            assert json.loads(image.info["augment_gen"])["label"] == labels[-1], "the classes are 0 to 9"
    assert sorted(labels) == [3] * 5 + [8] * 3
    once = contents(tmp_path / "out")
    draw(image_model, tmp_path / "again", {3: 5, 8: 3}, n_shards=2)
    assert once == contents(tmp_path / "again")


@pytest.mark.parametrize("damage", ["cut short", "other bytes", "gone", "not recorded"])
def test_only_what_is_missing_or_damaged_is_drawn_again(table_model, tmp_path, damage):
    out = tmp_path / "out"
    draw(table_model, out)
    before = contents(out)
    victim = out / "shard-000002.parquet"
    if damage == "not recorded":  # a run that was killed between its first shards
        manifest = json.loads((out / "_manifest.json").read_text())
        notes = manifest.pop("shards")
        (out / "_manifest.json").unlink()
        (out / "_unfinished.json").write_text(json.dumps(manifest))
        (out / "_shard-000000.json").write_text(json.dumps(notes[0]))
        (out / ".augment_gen-0123456789abcdef.part").write_bytes(b"half a shard")
    elif damage == "gone":
        victim.unlink()
    else:
        victim.write_bytes(before[victim.name][:-9] if damage == "cut short" else before[victim.name][:-9] + b"x" * 9)
    drawn = []
    generator = load(table_model)
    real = generator.sample
    generator.sample = lambda **request: drawn.append(len(request["y"])) or real(**request)
    sample_shards(generator, out, COUNTS, 5, model=table_model, seed=7)
    assert len(drawn) == (4 if damage == "not recorded" else 1)
    assert contents(out) == before


def test_what_is_there_is_left_alone(table_model, tmp_path):
    draw(table_model, tmp_path / "out", n_shards=2)
    before = contents(tmp_path / "out")
    with pytest.raises(OutputExistsError, match="differs in n_shards"):
        draw(table_model, tmp_path / "out", n_shards=3)
    with pytest.raises(InvalidRequestError, match="Remove the folder first"):
        draw(table_model, tmp_path / "out", n_shards=3, force=True, worker=(0, 2))
    assert contents(tmp_path / "out") == before
    draw(table_model, tmp_path / "out", n_shards=1, force=True)
    assert sorted(contents(tmp_path / "out")) == ["_manifest.json", "shard-000000.parquet"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is not empty"):
        draw(table_model, tmp_path / "mine", force=True)
    (tmp_path / "out" / "_manifest.json").write_text("{")
    with pytest.raises(InvalidDataError, match="damaged"):
        draw(table_model, tmp_path / "out", n_shards=1)


@pytest.mark.parametrize(
    ("counts", "n_shards", "worker", "message"),
    [
        (COUNTS, 0, (0, 1), "n_shards must be a positive int"),
        (COUNTS, 40, (0, 1), "39 samples cannot be shared out among 40"),
        ({"benign": -1}, 1, (0, 1), r"counts\['benign'\]"),
        ({"cured": 9}, 1, (0, 1), "cured"),
        (COUNTS, 5, (2, 2), "0 <= rank"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(table_model, tmp_path, counts, n_shards, worker, message):
    with pytest.raises(InvalidRequestError, match=message):
        draw(table_model, tmp_path / "out", counts, n_shards, worker=worker)
    assert not (tmp_path / "out").exists()


def test_workers_are_numbered_by_torchrun_or_by_srun(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert worker() == (0, 1)
    monkeypatch.setenv("SLURM_PROCID", "0")  # a batch script, in which no step has been started
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert worker() == (0, 1)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert worker() == (3, 4)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert worker() == (1, 2)


@pytest.mark.long
def test_the_command_as_two_workers_at_once(table_model, tmp_path):
    command = [sys.executable, "-m", "augment_gen", "sample", str(table_model), "--n", "40", "--shards", "4"]
    environment = {**os.environ, "WORLD_SIZE": "2"}
    command += ["--out", str(tmp_path / "out")]
    start = lambda rank: subprocess.Popen(command, env={**environment, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
    workers = [start(rank) for rank in (0, 1)]
    complaints = [process.communicate()[1] for process in workers]
    assert [process.returncode for process in workers] == [0, 0], complaints
    assert len(pd.read_parquet(tmp_path / "out")) == 40 and (tmp_path / "out" / "_manifest.json").exists()
    alone = sample_shards(
        load(table_model), tmp_path / "alone", by_frequency(load(table_model), 40), 4, model=table_model, seed=0
    )
    assert len(alone) == 4 and contents(tmp_path / "alone") == contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [([], "Give --shards"), (["--shards", "2", "--mark", "made"], "--mark is not for shards")],
)
def test_the_command_refuses_what_workers_cannot_do(table_model, tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    arguments = ["sample", str(table_model), "--n", "4", "--out", str(tmp_path / "out.csv"), *options]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2 and message in done.stderr and not (tmp_path / "out.csv").exists()
