"""A fit that is killed, interrupted, or short of disk: nothing is lost, and it ends as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from pathlib import Path

import fits
import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from typer.testing import CliRunner

import augment_gen
from augment_gen import AugmentedClassifier, ConditionalGAN, ConditionalVAE, checkpoints, cli
from augment_gen.errors import CheckpointError, InvalidRequestError, TrainingInterruptedWarning, TrainingWarning
from augment_gen.evaluation import compare
from augment_gen.persistence import ASIDE, read_state

ENDLESS = 10**7  # steps
KILLS_EACH = 20  # of every kind of fit, in the long test
KILLS_OF_ONE = 10  # fit, before it is left to end: where the computer slows down it might never come to a checkpoint
INTERRUPTIONS_EACH = 10


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def refit(folder, kind="vae table", **params):
    generator, X, y = fits.make(kind, **params)
    return generator.fit(X, y, checkpoint_dir=folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder that a fit of a table has left behind, one checkpoint in the midst of it and one at its end; and the fit."""
    folder = tmp_path_factory.mktemp("finished") / "checkpoints"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "EVERY", 0)
        patch.setattr(checkpoints, "MOST_TIME", 1e9)
        return folder, fits.digest(refit(folder))


@pytest.fixture
def folder(finished, tmp_path):
    return Path(shutil.copytree(finished[0], tmp_path / "checkpoints"))


@pytest.fixture(autouse=True)
def listening():
    """As from a terminal; what a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_when(condition):
    """Ctrl-C to this process, from a thread, as soon as `condition` holds."""

    def wait():
        while not condition():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def checkpoint_in(folder):
    return lambda: any(folder.glob("checkpoint-*"))


# --------------------------------------------------------------- checkpoints
def test_a_killed_fit_goes_on_and_ends_as_one_that_was_never_killed(finished, tmp_path):
    kills, delay = 0, 0.3
    while True:
        process = fits.start(fits.fit, tmp_path / "report", "vae table", checkpoint_dir=tmp_path / "checkpoints")
        process.join(delay)
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills, delay = kills + 1, delay * 1.5
    assert kills and json.loads((tmp_path / "report").read_text())["digest"] == finished[1]
    assert not list((tmp_path / "checkpoints").glob(f"{ASIDE}*")), "what a killed process was just writing is removed"


def test_a_finished_fit_is_not_repeated_and_needs_no_checkpoints_to_be_the_same(folder, finished):
    names = sorted(contents(folder))
    assert names == ["checkpoint-000002.safetensors", "checkpoint-000003.safetensors"], "the last two are kept"
    before = contents(folder)
    assert fits.digest(refit(folder)) == finished[1] and contents(folder) == before
    generator, X, y = fits.make("vae table")
    assert fits.digest(generator.fit(X, y)) == finished[1]


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_that_to_the_beginning(folder, finished):
    newest = max(folder.iterdir())
    body = bytearray(newest.read_bytes())
    body[-100] ^= 1  # a bit of a weight, which no format notices
    newest.write_bytes(body)
    with pytest.warns(TrainingWarning, match="000003.* is damaged.* from checkpoint-000002.safetensors, the one before"):
        assert fits.digest(refit(folder)) == finished[1]
    assert sorted(contents(folder)) == ["checkpoint-000002.safetensors", "checkpoint-000004.safetensors"]
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.warns(TrainingWarning, match="from the beginning"):
        assert fits.digest(refit(folder)) == finished[1]
    assert sorted(contents(folder)) == ["checkpoint-000005.safetensors"]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"learning_rate": 0.5}, "learning_rate was 'auto', and is 0.5"),
        ({"max_steps": 61, "latent_dim": 3}, "latent_dim was .*max_steps was 60, and is 61"),
        ({"random_state": 1}, "random_state was 0, and is 1"),
        ({"random_state": None}, "random_state was 0, and is no int"),
    ],
)
def test_checkpoints_of_other_parameters_are_refused_by_name_and_left_alone(folder, params, named):
    before = contents(folder)
    with pytest.raises(CheckpointError, match=f"another fit: .*{named}"):
        refit(folder, **params)
    assert contents(folder) == before


def test_checkpoints_of_other_data_or_another_version_are_refused_and_left_alone(folder, monkeypatch):
    before = contents(folder)
    generator, X, y = fits.make("vae table")
    changed = X.copy()
    changed[-1, 0] += 1e-9
    for rows, labels, named in ((changed, y, "X"), (X, y[::-1], "y"), (X.astype("float32"), y, "X"), (X, y.astype(str), "y")):
        with pytest.raises(CheckpointError, match=f"it is of another {named}"):
            generator.fit(rows, labels, checkpoint_dir=folder)
    with pytest.raises(CheckpointError, match="generator was ConditionalVAE, and is ConditionalGAN"):
        refit(folder, "gan table")
    monkeypatch.setattr(augment_gen, "__version__", "99.0")
    with pytest.raises(CheckpointError, match=r"augment_gen was .*, and is 99.0"):
        refit(folder)
    assert contents(folder) == before and not hasattr(generator, "classes_")


def test_without_a_random_state_the_drawn_seed_is_kept(tmp_path):
    drawn = [fits.digest(refit(tmp_path / name, random_state=None, max_steps=2)) for name in ("one", "one", "two")]
    assert drawn[0] == drawn[1] != drawn[2]


def test_fit_resample_goes_on_too(folder, finished):
    generator, X, y = fits.make("vae table")
    X_all, _ = generator.fit_resample(X, y, checkpoint_dir=folder)
    again, X, y = fits.make("vae table")
    assert (X_all == again.fit_resample(X, y)[0]).all()


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "file/folder"):
        with pytest.raises(CheckpointError, match="checkpoint_dir=.*cannot be written to .*Give a folder that can"):
            refit(tmp_path / name, max_steps=ENDLESS)


def test_a_read_only_folder_is_refused_before_training():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        is_root = os.geteuid() == 0
        try:
            if is_root:  # whom nothing is forbidden
                os.seteuid(65534)
            with pytest.raises(CheckpointError, match="Permission denied"):
                refit(folder, max_steps=ENDLESS)
        finally:
            if is_root:
                os.seteuid(0)
        assert not list(Path(folder).iterdir())


def test_on_a_full_disk_training_goes_on_with_a_warning_and_the_checkpoint_before_stays(folder, finished, tmp_path):
    (folder / "checkpoint-000003.safetensors").unlink()
    before = contents(folder)
    found = fits.run(fits.fit, tmp_path / "report", "vae table", checkpoint_dir=folder, max_file_size=10_000)
    assert found["digest"] == finished[1] and contents(folder) == before
    (warning,) = (text for text in found["warnings"] if "checkpoint" in text)
    assert "could not be written" in warning and "Training goes on; the one before is kept." in warning


# -------------------------------------------------------------------- Ctrl-C
def test_ctrl_c_leaves_a_usable_generator_and_the_next_fit_goes_on_to_the_end(tmp_path, monkeypatch):
    whole, X, y = fits.make("vae table", max_steps=300)
    whole.fit(X, y)
    monkeypatch.setattr(checkpoints, "EVERY", 0)
    generator, *_ = fits.make("vae table", max_steps=300)
    interrupt_when(checkpoint_in(tmp_path))
    said = r"autoencoder, after \d+ of 300 steps.*the same call goes on"
    with pytest.warns(TrainingInterruptedWarning, match=said) as seen:
        assert generator.fit(X, y, checkpoint_dir=tmp_path) is generator
    assert seen[-1].filename == __file__, "it points to the caller"
    X_new, y_new = generator.sample(50, y=1)
    assert X_new.shape == (50, 13) and (y_new == 1).all()
    assert generator.history_["step"].max() < 300 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert fits.digest(generator.fit(X, y, checkpoint_dir=tmp_path)) == fits.digest(whole)


def test_the_warning_as_an_error_leaves_the_generator_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0)
    generator, X, y = fits.make("vae table", max_steps=ENDLESS)
    interrupt_when(checkpoint_in(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingInterruptedWarning)
        with pytest.raises(TrainingInterruptedWarning):
            generator.fit(X, y, checkpoint_dir=tmp_path)
    assert not hasattr(generator, "classes_")


def test_an_interrupted_gan_keeps_its_autoencoder_and_has_no_adversary(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0)
    generator, X, y = fits.make("gan table", max_steps=ENDLESS)
    interrupt_when(checkpoint_in(tmp_path))
    with pytest.warns(TrainingInterruptedWarning):
        generator.fit(X, y, checkpoint_dir=tmp_path)
    assert set(generator.history_["stage"]) == {"autoencoder"} and not generator.latent_report_["adversarial"].any()
    assert len(generator.sample(10)[0]) == 10


def cross_validated(generator, X, y, tmp_path):
    cross_val_score(AugmentedClassifier(LogisticRegression(), generator), X, y, error_score="raise")


def searched(generator, X, y, tmp_path):
    GridSearchCV(generator, {"beta": [0.1, 1]}, scoring=lambda *_: 1.0, error_score="raise").fit(X, y)


def compared(generator, X, y, tmp_path):
    compare(generator, LogisticRegression(), X, y, cv=2)


def resampled(generator, X, y, tmp_path):
    generator.fit_resample(X, y)


@pytest.mark.parametrize("whole", [cross_validated, searched, compared, resampled])
def test_ctrl_c_within_something_larger_stops_the_whole(whole, tmp_path):
    generator, X, y = fits.make("vae table", max_steps=ENDLESS)
    start = time.monotonic()
    interrupt_when(lambda: time.monotonic() > start + 1)
    with pytest.raises(KeyboardInterrupt):
        whole(generator, X, y, tmp_path)
    assert not hasattr(generator, "classes_")


def test_ctrl_c_in_the_shell_writes_nothing_but_checkpoints_and_the_same_command_goes_on(tmp_path, monkeypatch):
    source, out, folder = tmp_path / "wine.csv", tmp_path / "model.safetensors", tmp_path / "checkpoints"
    X, y = load_wine(return_X_y=True, as_frame=True)
    X.assign(kind=y).to_csv(source, index=False)
    command = ["fit", source, "--target", "kind", "--device", "cpu", "--steps", 300, "--checkpoint-dir", folder]
    command = [*map(str, command), "--out"]
    monkeypatch.setattr(checkpoints, "EVERY", 0)
    interrupt_when(checkpoint_in(folder))
    done = CliRunner().invoke(cli.app, [*command, str(out)])
    assert done.exit_code == 130 and not out.exists()
    assert "Nothing was written" in done.stderr and "the same command trains on from there" in done.stderr
    for path in (out, tmp_path / "again.safetensors"):
        assert CliRunner().invoke(cli.app, [*command, str(path)]).exit_code == 0
    assert out.read_bytes() == path.read_bytes()
    done = CliRunner().invoke(cli.app, [*command, str(tmp_path / "other"), "--seed", "1"])
    assert done.exit_code == 2 and "--checkpoint-dir" in done.stderr and "random_state was 0, and is 1" in done.stderr


# ---------------------------------------------------------------------- long
@pytest.mark.long
@pytest.mark.parametrize("kind", fits.KINDS)
def test_fits_killed_at_random_moments_end_as_those_that_were_not(kind, tmp_path):
    rng, kills, ends = random.Random(kind), 0, 0
    fits.run(fits.fit, tmp_path / "warm up", "vae table", max_steps=2)
    start = time.monotonic()
    whole = fits.run(fits.fit, tmp_path / "whole", kind)["digest"]
    longest = 0.6 * (time.monotonic() - start)
    while kills < KILLS_EACH:
        report, folder = tmp_path / f"report{ends}", tmp_path / f"checkpoints{ends}"
        for number in range(KILLS_OF_ONE + 1):
            process = fits.start(fits.fit, report, kind, checkpoint_dir=folder)
            process.join(rng.uniform(0, longest) if number < KILLS_OF_ONE else None)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
            for path in folder.glob("checkpoint-*"):
                read_state(path, checkpoints.KIND)
        assert process.exitcode == 0 and json.loads(report.read_text())["digest"] == whole
        ends += 1
    print(f"{kind}: {kills} kills survived, {ends} fits with the same bits as one that was not killed")


@pytest.mark.long
@pytest.mark.parametrize("kind", fits.KINDS)
def test_ctrl_c_at_random_moments_leaves_a_usable_generator_or_an_untouched_one(kind, tmp_path):
    rng, outcomes = random.Random(kind), []
    fits.run(fits.fit, tmp_path / "warm up", "vae table", max_steps=2)
    start = time.monotonic()
    fits.run(fits.fit, tmp_path / "whole", kind)
    longest = time.monotonic() - start
    for number in range(INTERRUPTIONS_EACH):
        report = tmp_path / f"report{number}"
        process = fits.start(fits.fit_until_interrupted, report, kind)
        while not Path(f"{report}.started").exists():
            time.sleep(0.001)
        process.join(rng.uniform(0, longest))
        for delay in [0, 0.05 * rng.random()][: 1 + (number % 4 == 0)]:  # every fourth time twice
            time.sleep(delay)
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGINT)
        process.join()
        assert process.exitcode == 0
        outcomes.append(json.loads(report.read_text())["outcome"])
    print(f"{kind}: {INTERRUPTIONS_EACH} times Ctrl-C: { {each: outcomes.count(each) for each in sorted(set(outcomes))} }")


@pytest.mark.long
def test_a_disk_that_is_really_full_and_freed_again(finished, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system of its own")
    try:
        (disk / "filling").write_bytes(bytes(700_000))
        found = fits.run(fits.fit, tmp_path / "report", "vae table", checkpoint_dir=disk / "c")
        assert found["digest"] == finished[1] and any("No space left" in text for text in found["warnings"])
        assert not list((disk / "c").glob(f"{ASIDE}*"))
        (disk / "filling").unlink()
        again = fits.run(fits.fit, tmp_path / "report", "vae table", checkpoint_dir=disk / "c")
        assert again["digest"] == finished[1] and not any("No space" in text for text in again["warnings"])
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("generator", [ConditionalVAE, ConditionalGAN])
def test_checkpoints_of_a_table_without_categories(generator, tmp_path):
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    first, again = (
        generator(max_steps=3, random_state=0, device="cpu").fit(X, y, checkpoint_dir=tmp_path / "c") for _ in range(2)
    )
    assert np.array_equal(first.sample(20, random_state=0)[0], again.sample(20, random_state=0)[0])
    for wrong in ("", 123, True):
        with pytest.raises(InvalidRequestError, match="checkpoint_dir must be the path"):
            first.fit(X, y, checkpoint_dir=wrong)
