"""Class folders that are rebalanced or drawn from a model, in a run that can be interrupted.

Enters: a class folder and an unfitted generator, or a model file and how many images of each label. Leaves: an output
folder with its manifest.
"""

import hashlib
import shutil
from collections import Counter
from numbers import Integral
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from augment_gen.errors import InvalidDataError, InvalidRequestError
from augment_gen.generators.keeping import load
from augment_gen.persistence import written_aside
from augment_gen.pipelines.folders import class_folders, load_images, writable
from augment_gen.pipelines.image_files import write_png
from augment_gen.pipelines.manifest import balance, check_apart, check_label, describe, manifest_row
from augment_gen.pipelines.output_folder import OutputFolder
from augment_gen.pipelines.provenance import Provenance, checked_seed
from augment_gen.sampling.plan import rows_wanted
from augment_gen.seeding import blocks, numpy_generator

PAGE = 256  # images drawn at a time from a stream of noise of their own, so that a finished page is never drawn again


def rebalance_folder(
    source, out, generator, *, seed=0, size=None, on_error="raise", synthetic_only=False, checkpoint_dir=None, force=False,
    verbose=0,
):  # fmt: skip
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
    checkpoint_dir : str or path-like, optional
        As for the generator's ``fit``.
    force : bool
        Remove what an earlier run wrote to `out`, when the generator is trained. Other files there are left as they are.
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
        `out` lies in `source`, or the other way round; or `seed` is no non-negative int.
    """
    source, out, seed = Path(source), Path(out), checked_seed(seed)
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
    with OutputFolder(out, settings, force) as output:
        if output.planned:
            generator = load(output.model)
        else:
            images, files = load_images(source, size, on_error=on_error, verbose=verbose, real_only=True)
            real = [] if synthetic_only else [file.path.relative_to(source) for file in files]
            rows = [manifest_row(file.as_posix(), file.parts[0], None) for file in real]
            output.refuse_taken(rows)
            generator.fit(images, np.array([file.label for file in files]), checkpoint_dir=checkpoint_dir)
            output.start(rows + _planned(generator.sampling_strategy_, Provenance.of(generator, seed)), generator)
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
        How many images of each label.
    model : str or path-like
        The generator's file, for the provenance.
    seed, force, verbose
        As for `rebalance_folder`.

    Returns
    -------
    DataFrame
        As of `rebalance_folder`.
    """
    check_apart(Path(out), [Path(model)])
    counts = _checked_counts(counts)
    generator.conditions_.encode(list(counts), "counts")
    for label in counts:
        check_label(str(label))
    writable(generator.sample(1, y=next(iter(counts)), random_state=seed)[0])  # refuses what no PNG can hold
    provenance = Provenance.of(generator, seed, model)
    with OutputFolder(out, {**vars(provenance), "counts": {str(label): n for label, n in counts.items()}}, force) as output:
        if not output.planned:
            output.start(_planned(counts, provenance))
        return _draw(output, generator, provenance, verbose)


def by_frequency(generator, n):
    """{label: number}: `n` samples shared out as often as the classes were in training."""
    wanted = rows_wanted(n, None, generator.conditions_, numpy_generator(0))
    shares = np.bincount(wanted, minlength=len(generator.classes_)).tolist()
    return dict(zip(generator.classes_.tolist(), shares, strict=True))


def _checked_counts(counts):
    if not isinstance(counts, dict) or not counts:
        raise InvalidRequestError(f'counts must say how many of each label, such as {{"melanoma": 200}}; got {counts!r}.')
    for label, n in counts.items():
        if isinstance(n, bool) or not isinstance(n, Integral) or n < 0:
            raise InvalidRequestError(f"counts[{label!r}] must be a non-negative int, how many images; got {n!r}.")
    return {label: int(n) for label, n in counts.items()}


def _planned(counts, provenance):
    """Rows of the manifest of the images to draw."""
    return [describe(str(label), number, provenance)[2] for label, n in counts.items() for number in range(n)]


def _draw(output, generator, provenance, verbose):
    """Draw and write what is missing, page by page; returns how many images there are then."""
    wanted = Counter(row["label"] for row in output.rows() if row["synthetic"] == "yes")
    known = {str(label): (index, label) for index, label in enumerate(generator.classes_.tolist())}
    if set(wanted) - set(known):
        raise InvalidDataError(f"The plan in {str(output.path)!r} names labels that its model does not know. Use force=True.")
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
