"""Damaged and hostile files: only augment_gen's own errors come out, soon, in bounded memory, and nothing else happens."""

import fcntl
import io
import json
import os
import random
import resource
import signal
import struct
import time
import zlib
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from hostile import packed, unpacked
from hostile_targets import PROVENANCE, file_targets, safetensors_targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import augment_gen
from augment_gen.errors import (
    InvalidDataError,
    InvalidParameterError,
    InvalidRequestError,
    ModelFileError,
    OutputExistsError,
    UnreadableImageError,
)
from augment_gen.evaluation.checkpoint import Checkpoint
from augment_gen.persistence import read_state, write_state
from augment_gen.pipelines import SyntheticPool
from augment_gen.pipelines.folders import read_image_folder
from augment_gen.pipelines.manifest import FIELDS, MANIFEST, read_manifest
from augment_gen.pipelines.output_folder import OutputFolder
from augment_gen.pipelines.tables import read_table

NAMES = ("load", "pool", "manifest", "provenance", "image", "csv", "parquet", "checkpoint")
SHORT = {"load": 25, "csv": 20}  # inputs in the usual suite; 100 of the others
LONG = {"load": 2500, "pool": 4000, "csv": 2000}  # inputs in the long one; 2,500 of the others: 21,000 in all


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return safetensors_targets(folder) | file_targets(folder)


@contextmanager
def bounded(seconds=30, gigabytes=1.5):
    """Inside the with-block the process may take so much more memory, and so long."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()

    def late(*_):
        raise TimeoutError(f"more than {seconds} s")

    handler = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (taken + int(gigabytes * 2**30), before[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


# ------------------------------------------------------------------- fuzzing
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_raise_our_errors_or_are_read(name, targets):
    target, n_read = targets[name], 0
    assert all(target.run(seed) for seed in target.seeds), "whole files are read"
    with bounded(120):
        for number in range(SHORT.get(name, 100)):
            rng = random.Random(number)
            n_read += target.run(target.damage(rng.choice(target.seeds), rng))
    assert n_read < SHORT.get(name, 100), "some of the damage was noticed"


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_fuzzed_files_raise_our_errors_or_are_read(name, targets):
    target = targets[name]
    counts = {"inputs": 0, "read": 0, "slowest": 0.0}

    @settings(max_examples=LONG.get(name, 2500), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(range(len(target.seeds))), st.randoms(use_true_random=False))
    def fuzz(seed, rng):
        content = target.damage(target.seeds[seed], rng)
        start = time.perf_counter()
        counts["read"] += target.run(content)
        counts["slowest"] = max(counts["slowest"], time.perf_counter() - start)
        counts["inputs"] += 1

    with bounded(3600, gigabytes=4):
        fuzz()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{name}: {counts['inputs']} inputs, {counts['read']} read, slowest {counts['slowest']:.2f} s, peak {peak:.0f} MB")


@pytest.mark.parametrize("name", ["load", "pool"])
def test_cut_at_every_byte_of_the_header(name, targets):
    target, seed = targets[name], min(targets[name].seeds, key=len)
    end = 8 + struct.unpack("<Q", seed[:8])[0]
    for length in range(0, end, 3 if name == "pool" else 31):
        assert not target.run(seed[:length]), f"{length} of {len(seed)} bytes were taken for a whole file"


def header(seed):
    """The bytes of a file that come before its arrays: 8 that say how many follow."""
    return 8 + struct.unpack("<Q", seed[:8])[0]


@pytest.mark.long
@pytest.mark.parametrize("name", ["load", "pool"])
def test_files_cut_at_every_byte_of_the_header(targets, name):
    for seed in targets[name].seeds:
        for place in range(header(seed)):
            assert not targets[name].run(seed[:place])


@pytest.mark.long
@pytest.mark.parametrize("name", ["load", "pool"])
def test_a_bit_turned_in_every_byte_of_the_shortest_header(targets, name):
    seed = min(targets[name].seeds, key=header)
    for place in range(header(seed)):
        targets[name].run(seed[:place] + bytes([seed[place] ^ 1 << place % 8]) + seed[place + 1 :])


# --------------------------------------------------------------- model files
CLAIMS = {
    "judges": ("elastic", ["decoder", "architecture", "n_judges"], 10**12),
    "layers": ("vae_table", ["decoder", "architecture", "n_layers"], 10**12),
    "classes": ("vae_table", ["decoder", "architecture", "n_classes"], 2**63 - 1),
    "codes": ("vae_table", ["decoder", "architecture", "layout", "blocks", 0, "size"], 2**40),
    "codes of the codec": ("vae_table", ["codec", "layout", "blocks", 0, "size"], 2**40),
    "bins": ("vae_table", ["codec", "columns", 0, "n_bins"], 10**12),
    "levels": ("vae_table", ["codec", "columns", 7, "n_own"], 10**12),
    "text": ("vae_table", ["conditions", "dtype"], {"numpy": "<U1000000000"}),
    "structure": ("vae_table", ["codec", "columns", 0, "dtype"], {"numpy": "(1000000000,)f8"}),
    "pixels": ("vae_image", ["codec", "height"], 10**9),
    "height": ("vae_image", ["decoder", "architecture", "height"], 10**300),
    "channels": ("vae_image", ["decoder", "architecture", "first_channels"], 10**12),
    "latents": ("vae_image", ["decoder", "architecture", "latent_dim"], 10**12),
    "no pass": ("vae_image", ["decoder", "max_rows"], 0),
    "rows asked for": ("vae_image", ["sampling_strategy", 0], 10**30),
    "number of many digits": ("vae_image", ["n_features_in"], 10**4000),
    "another name of torch": ("vae_table", ["conditions", "dtype"], {"torch": "load"}),
    "a zone that is a file": (
        "vae_table",
        ["codec", "columns", 11, "dtype"],
        {"pandas": "datetime64[ns, dateutil//etc/passwd]"},
    ),
    "another generator's network": ("vae_image", ["generator"], "WarpVAE"),
    "a method as a number": ("vae_table", ["codec", "columns", 0, "decode"], 5),
}


def changed(content, path, value):
    header, ours, body = unpacked(content)
    place = ours["state"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return packed(header, ours, body)


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_model_file_claims_is_not_believed(claim, targets, tmp_path):
    order = ("vae_table", "gan_table", "vae_image", "gan_image", "warp", "elastic")
    name, path, value = CLAIMS[claim]
    crafted = changed(targets["load"].seeds[order.index(name)], path, value)
    with bounded():
        (tmp_path / "x.safetensors").write_bytes(crafted)
        if claim == "a method as a number":  # what nobody reads does no harm
            assert len(augment_gen.load(tmp_path / "x.safetensors").sample(3)[0]) == 3
            return
        with pytest.raises(ModelFileError):
            augment_gen.load(tmp_path / "x.safetensors")


def test_a_header_that_is_no_json_or_too_deep(targets, tmp_path):
    header, ours, body = unpacked(targets["load"].seeds[1])
    deep = "[" * 100_000 + "]" * 100_000
    for text in (deep, json.dumps(ours).replace('"state":', '"state": NaN, "x":'), '{"a": ' * 5000, "7" * 10_000):
        (tmp_path / "x.safetensors").write_bytes(packed(header, text, body))
        with bounded(), pytest.raises(ModelFileError):
            augment_gen.load(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with bounded(), pytest.raises(ModelFileError, match="damaged or cut short"):
        augment_gen.load(tmp_path / "x.safetensors")


def test_a_state_that_cannot_be_read_again_is_not_written(tmp_path):
    with pytest.raises(ModelFileError, match="bytes of text"):
        write_state(tmp_path / "x.safetensors", {"levels": "x" * 100_000_000})
    with pytest.raises(ModelFileError, match="dtype object cannot be written"):
        write_state(tmp_path / "x.safetensors", {"a": np.array([{}, []], dtype=object)})
    write_state(tmp_path / "x.safetensors", {"a": np.arange(3, dtype=">i4"), "t": np.array(["2020"], "M8[D]")})
    state = read_state(tmp_path / "x.safetensors")
    assert state["a"].dtype == ">i4" and state["a"].tolist() == [0, 1, 2] and state["t"].dtype == "M8[D]"


def test_pools_whose_counts_lie(targets, tmp_path):
    for path, value in (
        (["counts", 0], 10**12),
        (["counts", 0], -3),
        (["format", "container"], "tf"),
        (["format", "height"], 9),
    ):
        (tmp_path / "pool").write_bytes(changed(targets["pool"].seeds[2], path, value))
        with bounded(), pytest.raises(ModelFileError):
            SyntheticPool.open(tmp_path / "pool")


# ------------------------------------------------------------------- folders
@pytest.mark.parametrize(
    "file", ["../x.png", "/etc/x.png", "a/../../x.png", "a", "b/x.png", "a//x.png", "a/./x.png", "a/x\0.png", "a/..", ""]
)
def test_a_manifest_that_leads_elsewhere_is_refused(file, tmp_path):
    (tmp_path / MANIFEST).write_text(f"{','.join(FIELDS)}\n{file},a,no,,,,\n")
    with pytest.raises(InvalidDataError, match="is damaged in line 2|no manifest"):
        read_manifest(tmp_path / MANIFEST)


def test_an_unfinished_run_writes_nothing_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "deeper").symlink_to(tmp_path / "elsewhere")
    output = OutputFolder(tmp_path / "out", {}, force=True)
    with pytest.raises(InvalidRequestError, match="link to another place"):
        output.place({"file": "a/deeper/new/x.png", "label": "a"})
    assert not list((tmp_path / "elsewhere").iterdir())


def test_only_one_run_writes_to_a_folder(tmp_path):
    with OutputFolder(tmp_path / "out", {"seed": 1}) as first:
        first.start([])
        with (
            pytest.raises(OutputExistsError, match="Another run is writing"),
            OutputFolder(tmp_path / "out", {"seed": 1}) as other,
        ):
            other.start([])
        with (
            pytest.raises(OutputExistsError, match="Another run is writing"),
            OutputFolder(tmp_path / "out", {}, True) as other,
        ):
            other.start([])
        first.finish()
    assert os.listdir(tmp_path / "out") == [MANIFEST]


def test_what_a_killed_run_had_locked_is_free(tmp_path):
    with OutputFolder(tmp_path / "out", {}) as first:
        first.start([])
        child = os.fork()
        if not child:
            lock = os.open(tmp_path / "out" / "unfinished.lock", os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    with OutputFolder(tmp_path / "out", {}) as second:
        assert second.planned and (tmp_path / "out" / "unfinished.lock").exists()
        second.finish()
    assert os.listdir(tmp_path / "out") == [MANIFEST]


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "7", "{", "\xff"])
def test_settings_of_an_unfinished_run_that_are_none(text, tmp_path):
    (tmp_path / "unfinished.json").write_text(text, encoding="latin-1")
    with pytest.raises(OutputExistsError, match="not empty"):
        OutputFolder(tmp_path, {"seed": 1})


# -------------------------------------------------------------------- images
def png_that_claims(width, height, body=b""):
    chunk = lambda kind, part: struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def progressive_jpeg_of_many_scans(n_scans):
    memory = io.BytesIO()
    Image.new("L", (2000, 2000)).save(memory, "JPEG", progressive=True)
    content = memory.getvalue()
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * n_scans + content[-2:]


def tiff_of_many_pages(n_pages):
    entries = [(256, 4, 8), (257, 4, 8), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, 8), (279, 4, 64)]
    size, pages = 2 + 12 * len(entries) + 4, []
    for page in range(n_pages):
        following = 8 + size * (page + 1) if page < n_pages - 1 else 0
        fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
        pages.append(struct.pack("<H", len(entries)) + fields + struct.pack("<I", following))
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (png_that_claims(50_000, 50_000), "too large"),
        (png_that_claims(2**31 - 1, 2**31 - 1), "too large|damaged"),
        (png_that_claims(9000, 9000, zlib.compress(bytes(10**6))), "damaged or cut short"),
        (progressive_jpeg_of_many_scans(5000), "scans"),
        (tiff_of_many_pages(50_000), "several pages"),
    ],
    ids=["50,000 x 50,000", "the largest", "few rows", "scans", "pages"],
)
def test_small_files_that_claim_to_be_large(content, why, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(content)
    start = time.perf_counter()
    with bounded(), pytest.raises(UnreadableImageError, match=why):
        read_image_folder(tmp_path, size=8)
    assert time.perf_counter() - start < 20


def test_links_to_images_are_read_and_links_to_folders_are_not(tmp_path):
    for name in ("folder/a", "elsewhere/deep"):
        (tmp_path / name).mkdir(parents=True)
    image = Image.new("L", (8, 8), 7)
    image.save(tmp_path / "elsewhere" / "x.png")
    image.save(tmp_path / "elsewhere" / "deep" / "y.png")
    (tmp_path / "folder" / "a" / "x.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (tmp_path / "folder" / "a" / "deep").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "folder" / "a" / "device.png").symlink_to("/dev/zero")
    with pytest.warns(UserWarning, match="Left out 1 unreadable|Ignored 1"):
        images, _ = read_image_folder(tmp_path / "folder", on_error="skip")
    assert images.shape == (1, 8, 8)


# -------------------------------------------------------------------- tables
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a,b\n1,\0\n", "NUL bytes"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a,b\né,2\n".encode("latin-1"), "not in UTF-8"),
        (b'a,b\n"1,2\n3,4\n', "cannot be read as CSV"),
        (b",".join(b"c%d" % number for number in range(10**6)) + b"\n1\n", "1,000,000 columns"),
        (b"a" * 20_000_000, "no table"),
        (b'"' + b"a" * 200_000 + b'",b\n1,2\n', "field larger"),
    ],
    ids=["NUL", "UTF-16", "Latin-1", "open quote", "a million columns", "one line", "a long name"],
)
def test_files_that_are_no_csv(content, why, tmp_path):
    (tmp_path / "x.csv").write_bytes(content)
    with bounded(), pytest.raises(InvalidDataError, match=why):
        read_table(tmp_path / "x.csv")


def test_rows_that_are_short_and_numbers_of_many_digits(tmp_path):
    (tmp_path / "x.csv").write_text("a,b,c\n1\n2,3,x\n" + "9" * 5000 + ",,\n")
    frame = read_table(tmp_path / "x.csv").frame
    assert frame["a"].tolist() == ["1", "2", "9" * 5000] and frame["b"].isna().tolist() == [True, False, True]


def test_parquet_files_that_unfold(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 1_000_000]))
    parquet.write_table(pa.table({"a": texts}), tmp_path / "text.parquet", compression="zstd", store_schema=False)
    nothing = pa.nulls(70_000_000, pa.int64())
    parquet.write_table(pa.table({"a": nothing}), tmp_path / "nothing.parquet", row_group_size=len(nothing))
    for name in ("text", "nothing"):
        file = tmp_path / f"{name}.parquet"
        assert file.stat().st_size < 300_000
        with bounded(), pytest.raises(InvalidDataError, match="GB in memory"):
            read_table(file)


def test_what_pandas_wrote_into_a_parquet_file_may_be_damaged(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.Table.from_pandas(pd.DataFrame({"a": [1, 2]}, index=["x", "y"]))
    for text in (b"{", b"[]", b'{"index_columns": 7}', b"[" * 100_000):
        parquet.write_table(table.replace_schema_metadata({b"pandas": text}), tmp_path / "x.parquet")
        with pytest.raises(InvalidDataError, match="cannot be read as Parquet"):
            read_table(tmp_path / "x.parquet")


# --------------------------------------------------------------- checkpoints
def test_a_checkpoint_that_was_changed_is_noticed(tmp_path):
    path = tmp_path / "cells.jsonl"
    record = {"arms": [{"arm": "none", "default": [[1, 2], [3, 4]]}], "notes": [], "seconds": 0.5}
    Checkpoint(path, {"X": "1"}).add((0, "none"), record)
    assert Checkpoint(path, {"X": "1"}).records == {(0, "none"): record}
    whole = path.read_bytes()
    for old, new, why in ((b"[[1, 2]", b"[[1, 9]", "not as it was written"), (b'"arms"', b'"legs"', "arms not there")):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(InvalidParameterError, match=f"line 2.*{why}|{why}"):
            Checkpoint(path, {"X": "1"})
    path.write_bytes(whole + b"[" * 100_000 + b"\n")
    with pytest.raises(InvalidParameterError, match="no checkpoint of compare"):
        Checkpoint(path, {"X": "1"})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidParameterError, match="no regular file"):
        Checkpoint(tmp_path / "pipe", {})


def test_provenance_of_a_hostile_sidecar_is_none(targets, tmp_path):
    assert targets["provenance"].run(json.dumps(PROVENANCE.record()).encode())
    for text in ("[" * 100_000, "7", "[]", '"x"', "{"):
        assert targets["provenance"].run(b"{" + text.encode())
