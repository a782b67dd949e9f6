"""Many samples in many files, drawn by any number of workers: Parquet parts of a table, or WebDataset's tars of images.

Enters: a fitted generator, how many samples of each label, and how many shards. Leaves: a folder with one file per shard and
``_manifest.json``, which lists them. Shard ``i`` is drawn from a stream of its own, ``numpy.random.default_rng([seed, i])``, so
that the files are the same, byte for byte, whoever draws them and in which order. Workers do not talk to each other: each takes
every n-th shard, writes it under another name first, and leaves ``_shard-*.json`` with its size and hash beside it; whoever
finds that all shards have one gathers them in the manifest. Until then ``_unfinished.json`` says what was asked for.

Names that begin with an underscore are passed over by what reads a folder of Parquet files as one table.
"""

import io
import json
import os
import tarfile
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from augment_gen.codecs import ImageCodec
from augment_gen.dtypes import scalar_to_json
from augment_gen.errors import InvalidDataError, InvalidRequestError, OutputExistsError
from augment_gen.persistence import ASIDE, written_aside
from augment_gen.pipelines.folders import writable
from augment_gen.pipelines.image_files import png_bytes
from augment_gen.pipelines.manifest import check_apart
from augment_gen.pipelines.parquet import write_parquet
from augment_gen.pipelines.provenance import SYNTHETIC, Provenance, file_hash
from augment_gen.pipelines.tables import with_labels

MANIFEST, UNFINISHED = "_manifest.json", "_unfinished.json"
COLUMNS = ["file", "rows", "bytes", "sha256"]


def sample_shards(generator, out, counts, n_shards, *, model, seed=0, worker=(0, 1), force=False, verbose=0):
    """Draw samples into a folder of shards; what is there and whole is not drawn again.

    Parameters
    ----------
    generator : fitted on a table or on images
    out : str or path-like
        A folder of its own. Tables become ``shard-000000.parquet`` and so on, with the labels as the last column; images
        become ``shard-000000.tar``, with ``<key>.png`` and ``<key>.cls`` (the number of the label in the manifest's "classes")
        for each, as WebDataset reads them.
    counts : dict {label: int}
        How many samples of each label. Shards differ by one sample at most, in all and of each label; their order is random.
    n_shards : int
        One shard at a time is in memory: choose so many that it fits.
    model : str or path-like
        The generator's file, for the provenance.
    seed : int
    worker : (int, int), default=(0, 1)
        The number of this worker, and of how many: it draws the shards ``rank, rank + n, ...``. The result depends on neither,
        and any later run may have another number of workers.
    force : bool
        Remove the shards of another request in `out`. Only for a worker on its own: another might be writing them.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    DataFrame
        One row per shard that is there and whole, of all workers so far: file, rows, bytes, sha256. ``len`` is `n_shards`
        when nothing is left to do.

    Raises
    ------
    InvalidRequestError
        Parameters that cannot be met; the message says why.
    OutputExistsError
        `out` holds something else, or shards of another request.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines.shards import sample_shards
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> gen = ConditionalVAE(max_steps=20, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gen.save(f"{folder}/iris.safetensors")
    ...     shards = sample_shards(gen, f"{folder}/out", {0: 70, 2: 30}, 4, model=f"{folder}/iris.safetensors")
    ...     drawn = pd.read_parquet(f"{folder}/out")
    >>> shards["rows"].tolist(), len(drawn), int((drawn["target"] == 2).sum())
    ([25, 25, 25, 25], 100, 30)
    """
    out, rank, n_workers = Path(out), *_checked_worker(worker, force)
    counts = _checked(generator, counts, n_shards)
    check_apart(out, [Path(model)])
    provenance = Provenance.of(generator, seed, model)
    is_image = isinstance(generator.codec_, ImageCodec)
    request = {
        "digitalSourceType": SYNTHETIC,
        "format": "webdataset" if is_image else "parquet",
        **vars(provenance),
        "n_shards": int(n_shards),
        "classes": [scalar_to_json(label) for label in generator.classes_.tolist()],
        "counts": [[scalar_to_json(label), n] for label, n in counts.items()],
    }
    folder = ShardFolder(out, request, force)
    if n_workers == 1:
        folder.sweep()
    draw = _image_shard if is_image else _table_shard
    mine = range(rank, n_shards, n_workers)
    with tqdm(mine, desc="drawing", unit="shard", disable=not verbose) as bar:
        for number in bar:
            if not folder.whole(number):
                labels, rng = _labels(counts, n_shards, number, provenance.seed)
                draw(generator, folder.path(number), labels, rng, provenance, number)
                folder.note(number, len(labels))
    return folder.gather()


class ShardFolder:
    """The folder that shards go to, and what is known of those that are there.

    Parameters
    ----------
    path : Path
        Made, where it is not there.
    request : dict
        What was asked for; JSON. Equal in all workers.
    force : bool
        Remove the shards of another request.

    Raises
    ------
    OutputExistsError
        There is something else.
    """

    def __init__(self, path, request, force):
        self.root, self.request = path, request
        self.suffix = ".tar" if request["format"] == "webdataset" else ".parquet"
        if os.path.lexists(path) and not path.is_dir():
            raise OutputExistsError(f"{str(path)!r} is a file. Name a folder.")
        path.mkdir(parents=True, exist_ok=True)
        # in this order: another worker may write its first file, or gather everything in the manifest, between two looks
        strangers = [name for name in os.listdir(path) if not name.startswith(ASIDE)]
        before = self._read(UNFINISHED) or self._read(MANIFEST)
        self._gathered = {}
        if before is not None and self._same(before):
            self._gathered = _by_file(self._read(MANIFEST))
            return
        if strangers:
            self._refuse_unless(force, before)
            self._clear(before)
        self._write(UNFINISHED, request)

    def path(self, number):
        """Where a shard is."""
        return self.root / f"shard-{number:06d}{self.suffix}"

    def note(self, number, n_rows):
        """Record a shard that has just been written."""
        file = self.path(number)
        record = {"file": file.name, "rows": n_rows, "bytes": file.stat().st_size, "sha256": file_hash(file)}
        self._write(_note_name(number), record)

    def whole(self, number):
        """Whether a shard is there as it was recorded, by size and hash."""
        file = self.path(number)
        record = self._read(_note_name(number)) or self._gathered.get(file.name)
        if record is None or not file.is_file():
            return False
        return file.stat().st_size == record["bytes"] and file_hash(file) == record["sha256"]

    def gather(self):
        """All records so far; where none is missing they become the manifest."""
        records = self._records()
        if len(records) == self.request["n_shards"]:
            self._write(MANIFEST, {**self.request, "shards": list(records.values())})
            for name in (UNFINISHED, *map(_note_name, range(self.request["n_shards"]))):
                (self.root / name).unlink(missing_ok=True)
        return pd.DataFrame(list(records.values()), columns=COLUMNS)

    def sweep(self):
        """Remove what a killed run was just writing."""
        for part in self.root.glob(f"{ASIDE}*.part"):
            part.unlink()

    def _records(self):
        """{file name: record}; a note of a shard drawn anew counts for more than the manifest."""
        notes = {}
        for number in range(self.request["n_shards"]):
            if (note := self._read(_note_name(number))) is not None:
                notes[note["file"]] = note
        # behind the notes: whoever removes them has written it
        return dict(sorted((_by_file(self._read(MANIFEST)) | notes).items()))

    def _same(self, other):
        return {name: value for name, value in other.items() if name != "shards"} == self.request

    def _refuse_unless(self, force, before):
        if before is None:
            raise OutputExistsError(f"{str(self.root)!r} is not empty. Name another folder.")
        if not force:
            changed = ", ".join(name for name in self.request if before.get(name) != self.request[name])
            raise OutputExistsError(
                f"{str(self.root)!r} holds shards of a run that differs in {changed}. Name another folder, or replace them "
                "with force=True."
            )

    def _clear(self, before):
        for number in range(before["n_shards"]):
            for name in (f"shard-{number:06d}.tar", f"shard-{number:06d}.parquet", _note_name(number)):
                (self.root / name).unlink(missing_ok=True)
        for name in (MANIFEST, UNFINISHED):
            (self.root / name).unlink(missing_ok=True)

    def _read(self, name):
        try:
            text = (self.root / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise InvalidDataError(
                f"{str(self.root / name)!r} is damaged ({error}). Remove it, or name another folder."
            ) from error

    def _write(self, name, content):
        with written_aside(self.root / name) as aside:
            Path(aside).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def progress(out):
    """``(shards written, shards wanted)`` of an unfinished run in a folder; None where there is none."""
    try:
        wanted = json.loads((Path(out) / UNFINISHED).read_text(encoding="utf-8"))["n_shards"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return len(list(Path(out).glob("_shard-*.json"))), wanted


def _note_name(number):
    return f"_shard-{number:06d}.json"


def _by_file(manifest):
    """{file name: record} of a manifest, or of none."""
    return {record["file"]: record for record in (manifest or {"shards": []})["shards"]}


def _labels(counts, n_shards, number, seed):
    """The labels of a shard in their order, and the generator that draws it.

    With all samples in a row, sorted by label, a shard has every `n_shards`-th of them.
    """
    rng, labels, start = np.random.default_rng([seed, number]), [], 0
    for label, n in counts.items():
        labels += [label] * len(range(start + (number - start) % n_shards, start + n, n_shards))
        start += n
    return [labels[place] for place in rng.permutation(len(labels))], rng


def _table_shard(generator, path, labels, rng, provenance, number):
    frame, target = with_labels(*generator.sample(y=labels, random_state=rng))
    record = provenance.record(target=target, shard=number, first_synthetic_row=0, synthetic_rows=len(frame))
    write_parquet(path, frame, None, None, record)


def _image_shard(generator, path, labels, rng, provenance, number):
    images = writable(generator.sample(y=labels, random_state=rng)[0])
    classes = {label: str(index).encode() for index, label in enumerate(generator.classes_.tolist())}
    with written_aside(path) as aside, tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar:
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            key = f"{number:06d}-{place:06d}"
            record = provenance.record(label=scalar_to_json(label), shard=number, number=place)
            _add(tar, f"{key}.png", png_bytes(image, record))
            _add(tar, f"{key}.cls", classes[label])


def _add(tar, name, content):
    """A member without time or owner, so that the same samples make the same file."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _checked_worker(worker, force):
    rank, n_workers = worker
    if not 0 <= rank < n_workers:
        raise InvalidRequestError(f"worker must be (rank, n_workers) with 0 <= rank < n_workers; got {worker!r}.")
    if force and n_workers > 1:
        raise InvalidRequestError(
            f"force=True removes shards that one of the other {n_workers - 1} workers may just have written. Remove the folder "
            "first, or start with one worker."
        )
    return rank, n_workers


def _checked(generator, counts, n_shards):
    """`counts` without labels of which nothing is wanted."""
    if isinstance(n_shards, bool) or not isinstance(n_shards, Integral) or n_shards < 1:
        raise InvalidRequestError(f"n_shards must be a positive int, how many files; got {n_shards!r}.")
    for label, n in counts.items():
        if isinstance(n, bool) or not isinstance(n, Integral) or n < 0:
            raise InvalidRequestError(f"counts[{label!r}] must be a non-negative int, how many samples; got {n!r}.")
    generator.conditions_.encode(list(counts), "counts")
    wanted = {label: int(n) for label, n in counts.items() if n}
    if sum(wanted.values()) < n_shards:
        raise InvalidRequestError(
            f"{sum(wanted.values())} samples cannot be shared out among {n_shards} shards. Ask for fewer shards."
        )
    return wanted
