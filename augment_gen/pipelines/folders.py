"""Class folders of images: one sub-folder a class, as torchvision's ``ImageFolder`` reads them.

Enters: a folder. Leaves: images as one array, and labels. And back: PNGs that say in a text chunk that they are synthetic
and from which model and seed, and a ``manifest.csv`` that lists them.
"""

import os
import warnings
from collections import Counter
from numbers import Integral
from pathlib import Path

import numpy as np
import torch

from augment_gen.codecs.dataset import IN_MEMORY
from augment_gen.errors import (
    InvalidDataError,
    InvalidParameterError,
    InvalidTypeError,
    OutputExistsError,
    SkippedFilesWarning,
    UnreadableImageError,
)
from augment_gen.pipelines.image_files import SUFFIXES, png_bytes, read_header, write_png
from augment_gen.pipelines.manifest import MANIFEST, describe, make_class_folder, read_manifest, write_manifest
from augment_gen.pipelines.stacking import damaged, decode, form

KINDS = "PNG, JPEG, TIFF or BMP"


def read_image_folder(path, size=None, *, on_error="raise", return_files=False, verbose=0):
    """All images of a class folder.

    Sub-folders are the classes, in sorted order; images in folders below them count too. Names that begin with a dot are
    passed over. Orientation by EXIF is applied. What comes out holds all that is in any image: grey images become RGB where
    one has colour, and alpha is kept where one is not opaque; palettes, CMYK and YCbCr become grey or RGB. Only grey images
    can be 16 bits deep.

    All pixels are in one array of n * H * W * C bytes, twice that where 16 bits deep; above 2 GB it is kept in a nameless
    temporary file rather than in memory.

    Parameters
    ----------
    path : str or path-like
        With sub-folders of PNG, JPEG, TIFF or BMP files.
    size : int or (int, int), optional
        Side, or (height, width), that all images are resized to, antialiased and without regard to their proportions.
        Without it they must have one size.
    on_error : {"raise", "skip"}, default="raise"
        What to do with unreadable images: an error that names them, or leave them out with a warning that names them.
    return_files : bool, default=False
        Return the files too.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    images : ndarray (n, H, W) or (n, H, W, C)
        uint8, or uint16 where the images are 16 bits deep.
    labels : str ndarray (n,)
        Names of the class folders.
    files : list of Path
        Where each image was read from, if `return_files`.

    Raises
    ------
    InvalidDataError
        No class folders, one without images, unreadable images, several sizes or depths; the message says which.
    NotADirectoryError

    Warns
    -----
    SkippedFilesWarning
        Of unreadable images, with ``on_error="skip"``, and of files in class folders that are no images.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen.pipelines.folders import read_image_folder, write_image_folder
    >>> digits = load_digits()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image_folder(folder, digits.images[:20].astype("uint8"), digits.target[:20], provenance=None)
    ...     images, labels = read_image_folder(folder)
    >>> images.shape, images.dtype.name, labels[:3].tolist()
    ((20, 8, 8), 'uint8', ['0', '0', '1'])
    """
    images, files = load_images(path, size, on_error=on_error, verbose=verbose)
    labels = np.array([file.label for file in files])
    return (images, labels, [file.path for file in files]) if return_files else (images, labels)


def load_images(path, size=None, *, on_error="raise", verbose=0, real_only=False, in_memory=IN_MEMORY):
    """``(images, list of ImageFile)``; parameters and errors as of `read_image_folder`.

    Parameters
    ----------
    real_only : bool
        Refuse images that augment_gen drew.
    in_memory : int
        Bytes of images above which they are kept in a temporary file.
    """
    if on_error not in ("raise", "skip"):
        raise InvalidParameterError(f'on_error must be "raise" or "skip"; got {on_error!r}.')
    size = _size(size)
    files, failed, ignored = scan_image_folder(path)
    if real_only:
        _refuse_synthetic(files)
    if on_error == "skip" and len({form(file, size) for file in files}) > 1:
        failed |= damaged(files)  # those do not count among the sizes and depths
    _report(failed, ignored, on_error)
    files = _left(files, failed, path)
    images, failed = decode(files, size, verbose, in_memory)
    if failed:
        _report(failed, [], on_error)
        files = _left(files, failed, path)
        images, _ = decode(files, size, verbose, in_memory)  # anew: one may have been the only colour
    return images, files


def _left(files, failed, path):
    """The files that did not fail; raises where a class has none."""
    files = [file for file in files if file.path not in failed]
    _check_classes_left(files, path)
    return files


def scan_image_folder(path):
    """What lies in a class folder, by headers alone.

    Returns
    -------
    files : list of ImageFile
        Sorted by class and name.
    failed : dict {Path: str}
        Unreadable images, and why.
    ignored : list of Path
        Other files, and links to folders, which are not followed (so that a loop of links ends).

    Raises
    ------
    InvalidDataError
        There are no class folders.
    """
    files, failed, ignored = [], {}, []
    for folder in class_folders(path):
        for file in _below(folder, ignored):
            if file.suffix.lower() not in SUFFIXES:
                ignored.append(file)
                continue
            try:
                files.append(read_header(file, folder.name))
            except UnreadableImageError as error:
                failed[file] = str(error)
    return files, failed, ignored


def class_folders(path):
    """The sub-folders of `path` that are classes, sorted; raises where there are none."""
    path = Path(path)
    if not path.is_dir():
        error = NotADirectoryError if path.exists() else FileNotFoundError
        raise error(f"There is no folder {str(path)!r}.")
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        loose = sum(entry.suffix.lower() in SUFFIXES for entry in path.iterdir())
        found = f"{loose} images lie in it directly" if loose else "it has no sub-folders"
        raise InvalidDataError(
            f"{str(path)!r} is no class folder: {found}. Put the images of each class into a sub-folder named after it."
        )
    return folders


def write_image_folder(path, images, labels, *, provenance):
    """Write images into class folders, as PNGs named ``synthetic-<model>-<seed>-<number>.png``, and list them in a manifest.

    A file is there whole or not at all. Files that are there already, with the same bytes, are left: after an interruption
    the same call goes on where it stopped. No other file is ever replaced.

    Parameters
    ----------
    path : str or path-like
        Is made if it is not there.
    images : ndarray (n, H, W) or (n, H, W, C)
        uint8 with 1 to 4 channels, or uint16 with one.
    labels : array-like (n,)
        Become names of folders, as text. A label that cannot be one on every system is refused: empty, beginning with a
        dot, ending in a dot or a space, with one of ``/ \\ : * ? " < > |`` or a control character, longer than 100 bytes, or
        one of the names that Windows reserves.
    provenance : Provenance or None
        Where the images come from: ``Provenance.of(generator, seed)``. It is written into every file. None says that the
        images are real; they are named by number alone.

    Raises
    ------
    InvalidDataError, InvalidTypeError
        Images or labels that cannot be written, or a ``manifest.csv`` of somebody else's.
    OutputExistsError
        A file of the same name holds something else.

    Examples
    --------
    See `read_image_folder`.
    """
    images = writable(images)
    labels = [str(label) for label in _labels(labels)]
    if len(images) != len(labels):
        raise InvalidDataError(f"There are {len(images)} images, but {len(labels)} labels. Give one label for each image.")
    root, counts, rows = Path(path), Counter(), []
    listed = read_manifest(root / MANIFEST)
    for label in dict.fromkeys(labels):
        make_class_folder(root, label)
    for image, label in zip(images, labels, strict=True):
        name, record, row = describe(label, counts[label], provenance)
        counts[label] += 1
        rows.append(row)
        file = root / label / name
        if not os.path.lexists(file):
            write_png(file, image, record)
        elif file.is_symlink() or file.read_bytes() != png_bytes(image, record):
            raise OutputExistsError(f"{str(file)!r} exists and holds another image. Write to a folder of its own.")
    written = {row["file"] for row in rows}
    write_manifest(root / MANIFEST, [row for row in listed if row["file"] not in written] + rows)


def _below(folder, ignored):
    """Files at any depth below `folder`, sorted, but for hidden ones."""
    found = []
    for parent, names, file_names in os.walk(folder):
        links = [name for name in names if os.path.islink(os.path.join(parent, name))]
        ignored.extend(Path(parent, name) for name in links)
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in links)
        found.extend(Path(parent, name) for name in file_names if not name.startswith("."))
    return sorted(found)


def _check_classes_left(files, path):
    names = [folder.name for folder in class_folders(path)]
    missing = sorted(set(names) - {file.label for file in files})
    if missing:
        raise InvalidDataError(
            f"No readable image ({KINDS}) in {len(missing)} of {len(names)} class folders of {str(path)!r}: "
            f"{', '.join(map(repr, missing[:5]))}. Remove those folders, or fill them."
        )


def _refuse_synthetic(files):
    marked = [file.path for file in files if file.synthetic]
    if marked:
        raise InvalidDataError(
            f"{len(marked)} of the images are synthetic themselves, such as {str(marked[0])!r}. Start from the folder of real "
            "images."
        )


def _report(failed, ignored, on_error):
    if failed and on_error == "raise":
        raise UnreadableImageError(
            f"{len(failed)} unreadable images: {_listed(f'{path}: {why}' for path, why in failed.items())}. Mend or remove "
            'them, or leave them out with on_error="skip".'
        )
    if failed:
        text = f"Left out {len(failed)} unreadable images: {_listed(f'{path}: {why}' for path, why in failed.items())}."
        warnings.warn(text, SkippedFilesWarning, stacklevel=3)
    if ignored:
        text = f"Ignored {len(ignored)} files that are no {KINDS}: {_listed(map(str, ignored))}."
        warnings.warn(text, SkippedFilesWarning, stacklevel=3)


def _listed(texts):
    texts = list(texts)
    return "; ".join(texts[:10]) + (f"; and {len(texts) - 10} more" if len(texts) > 10 else "")


def _size(size):
    if size is None:
        return None
    pair = (size, size) if isinstance(size, Integral) else tuple(size) if np.ndim(size) == 1 else ()
    if len(pair) != 2 or not all(isinstance(side, Integral) and side > 0 for side in pair):
        raise InvalidParameterError(f"size must be an int, or (height, width), in pixels; got {size!r}.")
    return tuple(map(int, pair))


def _labels(labels):
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    distinct = {str(label): label for label in values}
    if len(distinct) < len(set(values)):
        raise InvalidDataError("Different labels read alike as text, such as 1 and '1', and would share a folder. Rename them.")
    return values


def writable(images):
    """Images as an ndarray that `write_png` can write one by one; raises where PNG has no such form."""
    if isinstance(images, torch.Tensor):
        images = images.cpu().movedim(1, -1) if images.ndim == 4 else images.cpu()
    images = np.asarray(images)
    if images.dtype not in (np.uint8, np.uint16):
        raise InvalidTypeError(
            f"images of dtype {images.dtype} cannot be written as PNG. Scale them to 0 to 255 and give uint8 (or uint16)."
        )
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or (images.ndim == 4 and not 2 <= images.shape[3] <= 4):
        raise InvalidDataError(f"images must be (n, height, width) or (n, height, width, channels); got shape {images.shape}.")
    if images.ndim == 4 and images.dtype == np.uint16:
        raise InvalidTypeError("PNGs of 16-bit colour cannot be written. Give uint8, or 16-bit grey.")
    return np.ascontiguousarray(images)
