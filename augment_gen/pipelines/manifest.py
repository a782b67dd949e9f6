"""What an output folder of images is called inside: folders, file names, and the manifest that lists them.

Enters: labels, numbers and a `Provenance`. Leaves: names that are safe on every system, and the rows of ``manifest.csv``.
"""

import csv
import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd

from augment_gen.errors import InvalidDataError, InvalidRequestError
from augment_gen.persistence import written_aside

MANIFEST = "manifest.csv"
FIELDS = ("file", "label", "synthetic", "seed", "model", "generator", "version")
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def describe(label, number, provenance):
    """File name, record for the text chunk, and manifest row of the image `number` of a label."""
    if provenance is None:
        name, record = f"{number:06d}.png", None
    else:
        name = f"synthetic-{provenance.model[:12]}-{provenance.seed}-{number:06d}.png"
        record = provenance.record(label=label, number=number)
    return name, record, manifest_row(f"{label}/{name}", label, provenance)


def manifest_row(file, label, provenance):
    """One row of the manifest; `provenance` is None for a real image."""
    row = {"file": file, "label": label, "synthetic": "no" if provenance is None else "yes"}
    return {field: "" for field in FIELDS} | row | ({} if provenance is None else vars(provenance))


def write_manifest(path, rows):
    """Write manifest rows as CSV, atomically."""
    with written_aside(path) as aside, open(aside, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def read_manifest(path):
    """The rows of a manifest, as dicts of text; none where there is no such file.

    Raises
    ------
    InvalidDataError
        The file is somebody else's, is damaged, or lists a file that lies in no class folder.
    """
    if not Path(path).is_file():
        return []
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        try:
            header, *lines = csv.reader(file, strict=True)
        except (csv.Error, ValueError) as error:
            raise InvalidDataError(
                f"{str(path)!r} is no manifest of augment_gen ({error}). Write to another folder."
            ) from error
    if tuple(header) != FIELDS:
        raise InvalidDataError(f"{str(path)!r} is no manifest of augment_gen. Write to another folder.")
    rows = [dict(zip(FIELDS, line, strict=False)) for line in lines]
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 2):
        if len(line) != len(FIELDS) or row["synthetic"] not in ("yes", "no") or not _in_class_folder(row["file"], row["label"]):
            raise InvalidDataError(
                f"{str(path)!r} is damaged in line {number}: {line[:3]} is no file of a class folder. Write to another folder."
            )
    return rows


def _in_class_folder(file, label):
    """Whether `file`, of a manifest, is a plain name below the folder of its label: no manifest leads out of its folder."""
    parts = file.split("/")
    plain = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
    return plain and len(parts) > 1 and parts[0] == label and "\\" not in label


def balance(real, synthetic):
    """DataFrame with label, real, synthetic: how many there are of each, from one label per row or image."""
    counts = Counter(real), Counter(synthetic)
    labels = sorted({*counts[0], *counts[1]}, key=str)
    rows = [(label, counts[0][label], counts[1][label]) for label in labels]
    return pd.DataFrame(rows, columns=["label", "real", "synthetic"])


def check_label(label):
    """Raise where `label`, a str, cannot be the name of a folder on every system."""
    forbidden = [mark for mark in label if mark in '/\\:*?"<>|' or unicodedata.category(mark) in ("Cc", "Cs")]
    reserved = label.split(".")[0].strip().lower() in RESERVED
    edge = label[:1] in ("", ".") or label[-1:] in (".", " ")
    if forbidden or reserved or edge or len(label.encode("utf-8", "surrogatepass")) > 100:
        raise InvalidDataError(
            f"The label {label!r} cannot be the name of a folder on every system"
            + (f": it has {forbidden[0]!r} in it" if forbidden else "")
            + ". Rename that class, with letters, digits, spaces or dashes."
        )


def make_class_folder(root, label):
    """``root/label``, made if need be; refuses a label that would lead out of `root`, by its name or through a link."""
    check_label(label)
    folder = root / label
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink() or folder.resolve().parent != root.resolve():
        raise InvalidRequestError(f"{str(folder)!r} is a link to another place, where nothing is written. Remove the link.")
    return folder


def check_apart(out, inputs):
    """Raise where writing to `out` would write into one of `inputs`, or over it; links are followed."""
    target = out.resolve()
    for path in inputs:
        real = path.resolve()
        if target == real or real in target.parents or target in real.parents:
            raise InvalidRequestError(
                f"The output {str(out)!r} lies in the input {str(path)!r}, or the other way round. The input is never written "
                "to: name a place beside it."
            )
