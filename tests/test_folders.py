"""Class folders: what real files of every kind are read as, what is refused, and that written ones say what they are."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from torchvision.datasets import ImageFolder

from augment_gen import ConditionalVAE
from augment_gen.errors import (
    InvalidDataError,
    InvalidParameterError,
    InvalidRequestError,
    InvalidTypeError,
    OutputExistsError,
    SkippedFilesWarning,
    UnreadableImageError,
)
from augment_gen.pipelines.folders import load_images, read_image_folder, write_image_folder
from augment_gen.pipelines.image_files import write_png
from augment_gen.pipelines.provenance import SYNTHETIC, Provenance, read_provenance

GREY = (load_digits().images[:6] * 255 / 16).round().astype(np.uint8)
PHOTO = load_sample_images().images[0][100:116:2, 200:220:2]  # 8 x 10 pixels, RGB


def lay_out(root, *images, suffix="png", **options):
    """One image a class, in the classes a, b, ..."""
    for name, image in zip("abcdefgh", images, strict=False):
        (root / name).mkdir(parents=True)
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(root / name / f"one.{suffix}", **options)
    return root


def png_16bit_rgb(path):
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(8 * 6) for _ in range(8)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


# ------------------------------------------------------------------ reading
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "PNG"])
def test_grey_of_8_bits_comes_back_as_it_was(tmp_path, suffix):
    images, labels, files = read_image_folder(lay_out(tmp_path, *GREY[:3], suffix=suffix), return_files=True)
    np.testing.assert_array_equal(images, GREY[:3])
    assert images.dtype == np.uint8 and labels.tolist() == ["a", "b", "c"]
    assert files == [tmp_path / name / f"one.{suffix}" for name in "abc"]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_comes_back_as_it_was(tmp_path, suffix):
    deep = GREY[:2].astype(np.uint16) * 257
    images, _ = read_image_folder(lay_out(tmp_path, *deep, suffix=suffix))
    np.testing.assert_array_equal(images, deep)
    assert images.dtype == np.uint16
    larger, _ = read_image_folder(tmp_path, size=(16, 24))
    assert larger.shape == (2, 16, 24) and larger.dtype == np.uint16 and larger.max() > 60_000


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "YCbCr", "P", "RGBA"])
def test_colour_of_every_mode_is_read_as_rgb(tmp_path, mode):
    photo = Image.fromarray(PHOTO).convert(mode, **({"palette": Image.Palette.ADAPTIVE} if mode == "P" else {}))
    images, _ = read_image_folder(lay_out(tmp_path, photo, photo, suffix="tif"))
    assert images.shape == (2, 8, 10, 3), "alpha that is opaque everywhere is dropped"
    assert np.abs(images[0].astype(int) - PHOTO).mean() < 12


def test_palettes_of_greys_are_grey_and_bits_are_bytes(tmp_path):
    grey = Image.fromarray(GREY[0])
    images, _ = read_image_folder(lay_out(tmp_path, grey.quantize(16), grey.convert("1")))
    assert images.shape == (2, 8, 8) and set(np.unique(images[1])) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_that_is_not_opaque_is_kept(tmp_path, mode):
    alpha = np.full(PHOTO.shape[:2], 255, np.uint8)
    alpha[:4] = 0
    first, options = Image.fromarray(PHOTO).convert(mode), {}
    if mode == "P":
        options = {"transparency": first.getpixel((0, 0))}
    else:
        first.putalpha(Image.fromarray(alpha))
    (tmp_path / "a").mkdir()
    first.save(tmp_path / "a" / "one.png", **options)
    lay_out(tmp_path / "x", Image.fromarray(PHOTO).convert("L" if mode == "LA" else "RGB"))
    (tmp_path / "x" / "a").rename(tmp_path / "b")
    (tmp_path / "x").rmdir()
    images, _ = read_image_folder(tmp_path)
    assert images.shape == (2, 8, 10, 2 if mode == "LA" else 4)
    assert images[0, 0, 0, -1] == 0 and (images[1, ..., -1] == 255).all()


def test_grey_beside_colour_becomes_rgb(tmp_path):
    images, _ = read_image_folder(lay_out(tmp_path, PHOTO[:8, :8], GREY[0]))
    np.testing.assert_array_equal(images[1], np.repeat(GREY[0][..., None], 3, axis=2))


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    lay_out(tmp_path, PHOTO, PHOTO, exif=exif)
    images, _ = read_image_folder(tmp_path)
    np.testing.assert_array_equal(images[0], np.rot90(PHOTO, -1))


def test_several_sizes_are_an_error_that_says_how_to_resize(tmp_path):
    lay_out(tmp_path, GREY[0], PHOTO, PHOTO)
    with pytest.raises(InvalidDataError, match=r"2 sizes .*8 x 10 \(2 images\), 8 x 8 \(1 images\).*size=\(8, 10\)"):
        read_image_folder(tmp_path)
    assert read_image_folder(tmp_path, size=12)[0].shape == (3, 12, 12, 3)
    assert read_image_folder(tmp_path, size=(8, 10))[0].shape == (3, 8, 10, 3)
    for size in (0, (1, 2, 3), "8", 2.5):
        with pytest.raises(InvalidParameterError, match="size must be"):
            read_image_folder(tmp_path, size=size)


def test_two_depths_are_an_error(tmp_path):
    lay_out(tmp_path, GREY[0], GREY[1].astype(np.uint16))
    with pytest.raises(InvalidDataError, match="8 bits deep.*and some 16"):
        read_image_folder(tmp_path)


def damage(folder, kind):
    file = folder / "a" / f"bad.{'jpg' if kind == 'cut jpeg' else 'tif' if kind in ('pages', 'float') else 'png'}"
    good = (folder / "a" / "one.png").read_bytes()
    if kind == "cut png":
        file.write_bytes(good[: len(good) * 2 // 3])
    elif kind == "cut jpeg":
        large = Image.fromarray(load_sample_images().images[0])
        large.save(file)
        file.write_bytes(file.read_bytes()[:20_000])
    elif kind == "text":
        file.write_text("no image")
    elif kind == "empty":
        file.touch()
    elif kind == "link to nothing":
        file.symlink_to(folder / "gone.png")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "bomb":
        Image.new("1", (13_500, 13_500)).save(file)
    elif kind == "pages":
        Image.fromarray(GREY[0]).save(file, save_all=True, append_images=[Image.fromarray(GREY[1])])
    elif kind == "float":
        Image.fromarray(GREY[0].astype(np.float32)).save(file)
    else:
        png_16bit_rgb(file)
    return file


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("cut png", "damaged or cut short"),
        ("cut jpeg", "damaged or cut short"),
        ("text", "no PNG, JPEG"),
        ("empty", "no PNG, JPEG"),
        ("link to nothing", "link to nothing"),
        ("pipe", "no regular file"),
        ("bomb", "too large"),
        ("pages", "several pages"),
        ("float", "floating-point"),
        ("16-bit RGB", "more than 8 bits per colour channel"),
    ],
)
def test_unreadable_images_are_fatal_or_left_out_by_name(tmp_path, kind, why):
    lay_out(tmp_path, GREY[0], GREY[1])
    file = damage(tmp_path, kind)
    with pytest.raises(UnreadableImageError, match=f"{file.name}: .*{why}.*on_error"):
        read_image_folder(tmp_path, size=8)
    with pytest.warns(SkippedFilesWarning, match=f"1 unreadable.*{file.name}: .*{why}"):
        images, labels, files = read_image_folder(tmp_path, size=8, on_error="skip", return_files=True)
    np.testing.assert_array_equal(images, GREY[:2])
    assert labels.tolist() == ["a", "b"] and file not in files


@pytest.mark.parametrize("image", [Image.new("L", (64, 64)), Image.fromarray(GREY[2].astype(np.uint16) * 257)])
def test_the_size_and_depth_of_what_is_left_out_do_not_count(tmp_path, image):
    lay_out(tmp_path, GREY[0], GREY[1])
    file = tmp_path / "a" / "cut.png"
    image.save(file)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.warns(SkippedFilesWarning, match="1 unreadable.*cut.png"):
        images, _ = read_image_folder(tmp_path, on_error="skip")
    np.testing.assert_array_equal(images, GREY[:2])
    image.save(file)
    with pytest.raises(InvalidDataError, match=r"2 sizes|8 bits deep"):
        read_image_folder(tmp_path, on_error="skip")


def test_what_would_fill_the_memory_is_kept_in_a_file(tmp_path):
    lay_out(tmp_path, *GREY[:3])
    images, files = load_images(tmp_path, in_memory=64 * 2)
    assert isinstance(images, np.memmap) and len(files) == 3
    np.testing.assert_array_equal(images, GREY[:3])
    np.testing.assert_array_equal(load_images(tmp_path, in_memory=64 * 3)[0], images)
    assert not isinstance(load_images(tmp_path, in_memory=64 * 3)[0], np.memmap)


def test_a_class_without_readable_images_is_an_error(tmp_path):
    lay_out(tmp_path, GREY[0], GREY[1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidDataError, match="1 of 3 class folders.*'empty'"):
        read_image_folder(tmp_path)
    (tmp_path / "empty" / "x.png").write_text("no image")
    with pytest.raises(InvalidDataError, match="1 of 3 class folders.*'empty'"), pytest.warns(SkippedFilesWarning):
        read_image_folder(tmp_path, on_error="skip")


def test_what_is_no_class_folder_is_an_error(tmp_path):
    with pytest.raises(InvalidDataError, match="has no sub-folders"):
        read_image_folder(tmp_path)
    Image.fromarray(GREY[0]).save(tmp_path / "loose.png")
    with pytest.raises(InvalidDataError, match="1 images lie in it directly"):
        read_image_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_image_folder(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        read_image_folder(tmp_path / "loose.png")
    with pytest.raises(InvalidParameterError, match="on_error"):
        read_image_folder(tmp_path, on_error="ignore")


def test_other_files_are_listed_hidden_ones_passed_over_and_loops_of_links_end(tmp_path):
    lay_out(tmp_path, GREY[0], GREY[1])
    (tmp_path / ".cache").mkdir()
    (tmp_path / "a" / ".hidden.png").write_text("no image")
    (tmp_path / "a" / "notes.txt").write_text("a note")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "deeper").mkdir()
    Image.fromarray(GREY[2]).save(tmp_path / "a" / "deeper" / "two.png")
    with pytest.warns(SkippedFilesWarning, match="Ignored 2 files.*loop.*notes.txt"):
        _, labels, files = read_image_folder(tmp_path, return_files=True)
    assert labels.tolist() == ["a", "a", "b"] and files[0] == tmp_path / "a" / "deeper" / "two.png"


# ------------------------------------------------------------------ writing
@pytest.fixture(scope="module")
def drawn():
    digits = load_digits()
    gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu", novelty_filter=False)
    gen.fit(digits.images[:300].astype("uint8"), digits.target[:300])
    images, labels = gen.sample({3: 4, 8: 2}, random_state=7)
    return images, labels, Provenance.of(gen, 7)


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()}


def test_written_images_come_back_and_say_what_they_are(tmp_path, drawn):
    images, labels, provenance = drawn
    write_image_folder(tmp_path, images, labels, provenance=provenance)
    again, names, files = read_image_folder(tmp_path, return_files=True)
    np.testing.assert_array_equal(again, images)
    assert names.tolist() == ["3"] * 4 + ["8"] * 2
    record = read_provenance(files[-1])
    assert record["digitalSourceType"] == SYNTHETIC and record["label"] == "8" and record["number"] == 1
    assert (record["model"], record["seed"], record["version"]) == (provenance.model, 7, provenance.version)
    assert json.loads(Image.open(files[0]).text["augment_gen"])["generator"] == "ConditionalVAE"
    manifest = pd.read_csv(tmp_path / "manifest.csv", dtype=str)
    assert manifest["file"].tolist() == [file.relative_to(tmp_path).as_posix() for file in files]
    assert set(manifest["synthetic"]) == {"yes"} and set(manifest["model"]) == {provenance.model}
    assert ImageFolder(tmp_path).classes == ["3", "8"] and len(ImageFolder(tmp_path)) == 6


def test_the_model_hash_is_that_of_the_file(tmp_path):
    X, y = load_digits(return_X_y=True)
    gen = ConditionalVAE(max_steps=2, random_state=0, device="cpu", novelty_filter=False).fit(X[:200], y[:200])
    gen.save(tmp_path / "m.safetensors")
    assert Provenance.of(gen, 0).model == Provenance.of(gen, 0, tmp_path / "m.safetensors").model
    assert type(Provenance.of(gen, np.int64(3)).seed) is int
    for seed in (None, -1, 2.5, True):
        with pytest.raises(InvalidRequestError, match="seed"):
            Provenance.of(gen, seed)


@pytest.mark.parametrize("images", [PHOTO[None], np.dstack([PHOTO, PHOTO[..., :1]])[None], GREY[:1].astype(np.uint16) * 200])
def test_colour_alpha_and_16_bits_survive(tmp_path, drawn, images):
    write_image_folder(tmp_path, images, ["a"], provenance=drawn[2])
    np.testing.assert_array_equal(read_image_folder(tmp_path)[0], images)


def test_writing_goes_on_where_it_stopped(tmp_path, drawn, monkeypatch):
    images, labels, provenance = drawn
    write_image_folder(tmp_path / "whole", images, labels, provenance=provenance)
    calls = []

    def full_disk(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        os.rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("augment_gen.persistence.os.replace", full_disk)
        write_image_folder(tmp_path / "part", images, labels, provenance=provenance)
    left = contents(tmp_path / "part")
    assert len(left) == 2 and all(name.suffix == ".png" for name in left), "whole files and nothing else"
    before = {name: (tmp_path / "part" / name).stat().st_mtime_ns for name in left}
    write_image_folder(tmp_path / "part", images, labels, provenance=provenance)
    assert contents(tmp_path / "part") == contents(tmp_path / "whole")
    assert all((tmp_path / "part" / name).stat().st_mtime_ns == time for name, time in before.items()), "not written again"


def test_a_foreign_manifest_is_noticed_before_anything_is_written(tmp_path, drawn):
    (tmp_path / "manifest.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidDataError, match="no manifest of augment_gen"):
        write_image_folder(tmp_path, *drawn[:2], provenance=drawn[2])
    assert set(contents(tmp_path)) == {Path("manifest.csv")}


def test_any_name_that_fits_is_written_and_the_umask_is_honoured_but_never_set(tmp_path, monkeypatch):
    umask, path = os.umask(0o027), tmp_path / ("n" * 251 + ".png")
    try:
        with monkeypatch.context() as patch:
            patch.delattr(os, "umask")  # it is the whole process's, other threads' included
            write_png(path, GREY[0])
        assert path.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(umask)
    assert os.listdir(tmp_path) == [path.name]


def test_no_file_is_replaced(tmp_path, drawn):
    images, labels, provenance = drawn
    write_image_folder(tmp_path, images, labels, provenance=provenance)
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match="holds another image"):
        write_image_folder(tmp_path, images[::-1], labels, provenance=provenance)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "label",
    ["../x", "a/b", "a\\b", "..", ".", "", " ", ".hidden", "x.", "con", "NUL.txt", "C:x", "a\nb", "a\0b", "\ud800", "x" * 101],
)
def test_labels_that_lead_elsewhere_are_refused(tmp_path, drawn, label):
    with pytest.raises(InvalidDataError, match="cannot be the name of a folder"):
        write_image_folder(tmp_path / "out", drawn[0][:1], [label], provenance=drawn[2])
    assert not contents(tmp_path)


def test_labels_of_any_script_are_folders(tmp_path, drawn):
    labels = ["日本", "naïve", "👩‍🔬", "grade 3 (high)"]
    write_image_folder(tmp_path, drawn[0][:4], labels, provenance=drawn[2])
    assert set(read_image_folder(tmp_path)[1]) == set(labels)


def test_nothing_is_written_through_a_link(tmp_path, drawn):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidRequestError, match="is a link to another place"):
        write_image_folder(tmp_path / "out", *drawn[:2], provenance=drawn[2])
    assert not contents(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (np.zeros((2, 8, 8)), [0, 1], InvalidTypeError, "float64.*uint8"),
        (np.zeros((2, 8, 8, 3), np.uint16), [0, 1], InvalidTypeError, "16-bit colour"),
        (np.zeros((2, 8, 8, 7), np.uint8), [0, 1], InvalidDataError, r"shape \(2, 8, 8, 7\)"),
        (np.zeros((2, 8, 8), np.uint8), [0], InvalidDataError, "2 images, but 1 labels"),
        (np.zeros((2, 8, 8), np.uint8), [1, "1"], InvalidDataError, "read alike"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, images, labels, error, message):
    with pytest.raises(error, match=message):
        write_image_folder(tmp_path / "out", images, labels, provenance=None)
    assert not (tmp_path / "out").exists()
