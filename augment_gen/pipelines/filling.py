"""Class folders that are rebalanced or drawn from a model, in a run that can be interrupted.

Enters: a class folder and an unfitted generator, or a model file and how many images of each label. Leaves: an output
folder with its manifest. Until it is complete the folder also holds ``unfinished.json`` (what was asked for),
``unfinished.safetensors`` (the trained model) and ``unfinished.csv`` (the manifest to be): a run that asks for the same goes
on from there, and ends with the files that an uninterrupted one would have written, byte for byte.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from augment_gen.errors import InvalidDataError, OutputExistsError
from augment_gen.generators.keeping import load
from augment_gen.persistence import written_aside
from augment_gen.pipelines.folders import class_folders, read_image_folder, writable
from augment_gen.pipelines.image_files import write_png
from augment_gen.pipelines.manifest import (
    MANIFEST,
    balance,
    check_apart,
    check_label,
    describe,
    make_class_folder,
    manifest_row,
    read_manifest,
    write_manifest,
)
from augment_gen.pipelines.provenance import Provenance, read_provenance
from augment_gen.sampling.plan import rows_wanted
from augment_gen.seeding import blocks, numpy_generator

PAGE = 256  # images drawn at a time from a stream of noise of their own, so that a finished page is never drawn again


def rebalance_folder(
    source, out, generator, *, seed=0, size=None, on_error="raise", synthetic_only=False, force=False, verbose=0
):
    """Copy a class folder, byte for byte, and add synthetic images as the generator's ``sampling_strategy`` says.

    Parameters
    ----------
    source, out : str or path-like
        Neither may lie in the other.
    generator : ConditionalVAE or ConditionalGAN
        Unfitted; it is fitted on the images of `source`.
    seed : int
        Of the synthetic images; the training's is the generator's ``random_state``.
    size, on_error
        As for `read_image_folder`. Real files are copied as they are, whatever `size` says; unreadable ones are not copied.
    synthetic_only : bool
        Copy no real files.
    force : bool
        Remove what an earlier run wrote to `out`. Other files there are left as they are.
    verbose : int
        1 shows progress bars.

    Returns
    -------
    DataFrame
        Per label: how many real and synthetic images are in `out`.

    Raises
    ------
    OutputExistsError
        `out` holds something else than an unfinished run that was asked for the same.
    InvalidRequestError
        `out` lies in `source`, or the other way round.
    """
    source, out = Path(source), Path(out)
    folders = class_folders(source)
    check_apart(out, [source, *folders])
    for folder in folders:
        check_label(folder.name)
    settings = {
        "source": str(source.resolve()),
        "images": _fingerprint(source),
        "generator": type(generator).__name__,
        **{name: repr(value) for name, value in generator.get_params(deep=False).items() if name != "verbose"},
        "seed": seed,
        "size": repr(size),
        "on_error": on_error,
        "synthetic_only": synthetic_only,
    }
    output = OutputFolder(out, settings, force)
    if not output.model.is_file():
        images, labels, files = read_image_folder(source, size, on_error=on_error, return_files=True, verbose=verbose)
        _refuse_synthetic(files)
        generator.fit(images, labels)
        generator.save(output.model)
        real = [] if synthetic_only else [file.relative_to(source) for file in files]
        rows = [manifest_row(file.as_posix(), file.parts[0], None) for file in real]
        output.plan(rows + _planned(generator.sampling_strategy_, Provenance.of(generator, seed, output.model)))
    else:
        generator = load(output.model)
    with tqdm(output.missing(), desc="copying", unit="image", disable=not verbose) as bar:
        for row in bar:
            if row["synthetic"] == "no":
                _copy(source / row["file"], output.place(row))
    return _draw(output, generator, Provenance.of(generator, seed, output.model), verbose)


def sample_folder(generator, out, counts, *, model, seed=0, force=False, verbose=0):
    """Write images that a fitted generator draws.

    Parameters
    ----------
    generator : fitted on images
    out : str or path-like
    counts : dict {label: int}
    model : str or path-like
        The generator's file, for the provenance.
    seed, force, verbose
        As for `rebalance_folder`.

    Returns
    -------
    DataFrame
        As of `rebalance_folder`.
    """
    check_apart(Path(out), [Path(model).parent / Path(model).name])
    generator.conditions_.encode(list(counts), "counts")
    for label in counts:
        check_label(str(label))
    writable(generator.sample(1, y=next(iter(counts)), random_state=seed)[0])  # refuses what no PNG can hold
    provenance = Provenance.of(generator, seed, model)
    output = OutputFolder(out, {**vars(provenance), "counts": {str(label): n for label, n in counts.items()}}, force)
    output.plan(_planned(counts, provenance))
    return _draw(output, generator, provenance, verbose)


class OutputFolder:
    """A folder that is being filled according to a plan, the manifest to be.

    Parameters
    ----------
    path : Path
    settings : dict
        What was asked for; JSON.
    force : bool
        Remove what an earlier run wrote.

    Raises
    ------
    OutputExistsError
        The folder holds anything but an unfinished run with these settings.
    """

    def __init__(self, path, settings, force=False):
        from augment_gen import __version__

        self.path = Path(path)
        self.model = self.path / "unfinished.safetensors"
        self._plan, self._settings = self.path / "unfinished.csv", self.path / "unfinished.json"
        settings = {"augment_gen": __version__, **settings}
        before = self._settings_before()
        if before != settings:
            if os.path.lexists(self.path) and (not self.path.is_dir() or any(self.path.iterdir())):
                self._clear(before, settings, force)
            self.path.mkdir(parents=True, exist_ok=True)
            with written_aside(self._settings) as aside:
                Path(aside).write_text(json.dumps(settings, indent=1), encoding="utf-8")
        for part in self.path.rglob(".*.part"):  # of a process that was killed
            part.unlink()

    def plan(self, rows):
        """Set what is to be written: rows of the manifest. None of the files may be there."""
        if not self._plan.is_file() and not (self.path / MANIFEST).is_file():
            taken = next((row["file"] for row in rows if os.path.lexists(self.path / row["file"])), None)
            if taken:
                raise OutputExistsError(f"{str(self.path / taken)!r} exists. Write to a folder of its own.")
            write_manifest(self._plan, rows)

    def place(self, row):
        """Where the file of a row goes; its class folder is there."""
        make_class_folder(self.path, row["label"])
        file = self.path / row["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def missing(self):
        """Rows of the plan whose files are not there yet."""
        return [row for row in self.rows() if not (self.path / row["file"]).is_file()]

    def rows(self):
        """All rows of the plan."""
        return read_manifest(self._plan)

    def finish(self):
        """The plan becomes the manifest; returns its rows."""
        if self._plan.is_file():  # it was renamed where a run ended just here
            os.replace(self._plan, self.path / MANIFEST)
        self._settings.unlink()
        self.model.unlink(missing_ok=True)
        return read_manifest(self.path / MANIFEST)

    def _settings_before(self):
        try:
            return json.loads(self._settings.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            return None

    def _clear(self, before, settings, force):
        if not force:
            if not self.path.is_dir():
                raise OutputExistsError(f"{str(self.path)!r} is a file. Name a folder.")
            changed = [name for name in settings if before and before.get(name) != settings[name]]
            found = f": it holds an unfinished run that differs in {', '.join(changed)}" if changed else ""
            raise OutputExistsError(
                f"{str(self.path)!r} is not empty{found}. Name another folder, or replace what augment_gen wrote there with "
                "force=True."
            )
        root = self.path.resolve()
        for row in read_manifest(self._plan) + read_manifest(self.path / MANIFEST):
            file = self.path / row["file"]
            if file.is_file() and root in file.resolve().parents and file.parent != self.path:
                file.unlink()
                for parent in file.parents[: len(Path(row["file"]).parts) - 1]:
                    if not any(parent.iterdir()):
                        parent.rmdir()
        for file in (self._plan, self._settings, self.model, self.path / MANIFEST):
            file.unlink(missing_ok=True)


def by_frequency(generator, n):
    """{label: number}: `n` samples shared out as often as the classes were in training."""
    wanted = rows_wanted(n, None, generator.conditions_, numpy_generator(0))
    shares = np.bincount(wanted, minlength=len(generator.classes_)).tolist()
    return dict(zip(generator.classes_.tolist(), shares, strict=True))


def progress(out):
    """``(files written, files planned)`` of an unfinished run; None where there is none, or its model is not trained yet."""
    rows = read_manifest(Path(out) / "unfinished.csv")
    return (sum((Path(out) / row["file"]).is_file() for row in rows), len(rows)) if rows else None


def _refuse_synthetic(files):
    marked = [file for file in files if file.suffix.lower() == ".png" and read_provenance(file)]
    if marked:
        raise InvalidDataError(
            f"{len(marked)} of the images are synthetic themselves, such as {str(marked[0])!r}. Start from the folder of real "
            "images."
        )


def _planned(counts, provenance):
    """Rows of the manifest of the images to draw."""
    return [describe(str(label), number, provenance)[2] for label, n in counts.items() for number in range(n)]


def _draw(output, generator, provenance, verbose):
    """Draw and write what is missing, page by page; returns how many images there are then."""
    wanted = Counter(row["label"] for row in output.rows() if row["synthetic"] == "yes")
    known = {str(label): (index, label) for index, label in enumerate(generator.classes_.tolist())}
    missing = {row["file"] for row in output.missing()}
    with tqdm(total=len(missing), desc="drawing", unit="image", disable=not verbose) as bar:
        for name, n in wanted.items():
            index, label = known[name]
            for page, rng in blocks(n, provenance.seed, index, PAGE):
                numbered = [(number, *describe(name, number, provenance)) for number in range(page.start, page.stop)]
                if not any(row["file"] in missing for *_, row in numbered):
                    continue
                images = writable(generator.sample({label: len(numbered)}, random_state=rng)[0])
                for image, (_, _, record, row) in zip(images, numbered, strict=True):
                    if row["file"] in missing:
                        write_png(output.place(row), image, record)
                        bar.update()
    rows = output.finish()
    return balance(*([row["label"] for row in rows if row["synthetic"] == answer] for answer in ("no", "yes")))


def _copy(source, target):
    with written_aside(target) as aside:
        shutil.copyfile(source, aside)
    shutil.copystat(source, target)


def _fingerprint(source):
    """A hash of the names, sizes and times of all files in the class folders."""
    digest = hashlib.sha256()
    for folder in class_folders(source):
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                status = file.stat()
                digest.update(
                    f"{file.relative_to(source)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape")
                )
    return digest.hexdigest()
