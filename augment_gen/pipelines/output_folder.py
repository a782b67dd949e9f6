"""An output folder that is being filled, and what it holds until it is complete.

Enters: what was asked for, a plan and a model. Leaves: a folder with its manifest. Until then it also holds
``unfinished.json`` (what was asked for), ``unfinished.safetensors`` (the trained model) and ``unfinished.csv`` (the manifest
to be): a run that asks for the same goes on from there, and ends with the files that an uninterrupted one would have written,
byte for byte. One run at a time: while one writes, ``unfinished.lock`` is locked, and a second one into the same folder is
refused (where the system has ``flock``).
"""

import json
import os
from pathlib import Path

from augment_gen.errors import InvalidRequestError, OutputExistsError
from augment_gen.persistence import ASIDE, written_aside
from augment_gen.pipelines.manifest import MANIFEST, make_class_folder, read_manifest, write_manifest

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None


class OutputFolder:
    """A folder that is being filled according to a plan, the manifest to be.

    Nothing in it is changed before `start`, but that what a killed run was just writing is removed where one goes on.
    To be used in a with-block, which keeps other runs out.

    Parameters
    ----------
    path : Path
    settings : dict
        What was asked for; JSON.
    force : bool
        Let `start` remove what an earlier run wrote.

    Attributes
    ----------
    planned : bool
        Whether a run that was asked for the same got as far as its plan, and can be gone on with.

    Raises
    ------
    OutputExistsError
        The folder holds anything but an unfinished run with these settings.
    InvalidDataError
        It has a manifest of somebody else's.
    """

    def __init__(self, path, settings, force=False):
        from augment_gen import __version__

        self.path = Path(path)
        self.model = self.path / "unfinished.safetensors"
        self._plan, self._manifest = self.path / "unfinished.csv", self.path / MANIFEST
        self._lock_file = self.path / "unfinished.lock"
        self._settings_file, self._settings = self.path / "unfinished.json", {"augment_gen": __version__, **settings}
        before = self._settings_before()
        ours = before == self._settings
        if not ours and os.path.lexists(self.path):
            self._refuse_unless(force, before)
        self._old = read_manifest(self._plan) + read_manifest(self._manifest)
        self.planned = ours and (self._plan.is_file() or self._manifest.is_file())
        self._lock = None

    def __enter__(self):
        if self.planned:
            self._take()
            self._sweep()
        return self

    def __exit__(self, *_):
        if self._lock is not None:
            self._lock_file.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def refuse_taken(self, rows):
        """Raise where a file of these rows of the manifest is there, and not of those that `start` will remove."""
        old = {row["file"] for row in self._old}
        for row in rows:
            if row["file"] not in old and os.path.lexists(self.path / row["file"]):
                raise OutputExistsError(f"{str(self.path / row['file'])!r} exists. Write to a folder of its own.")

    def start(self, rows, generator=None):
        """Remove what an earlier run wrote; set what is to be written, rows of the manifest, and the model to draw it with."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._take()
        self.refuse_taken(rows)
        self._clear()
        with written_aside(self._settings_file) as aside:
            Path(aside).write_text(json.dumps(self._settings, indent=1), encoding="utf-8")
        if generator is not None:
            generator.save(self.model)
        write_manifest(self._plan, rows)

    def place(self, row):
        """Where the file of a row goes; its class folder is there. Raises where a link would lead out of the output folder."""
        make_class_folder(self.path, row["label"])
        file = self.path / row["file"]
        if not self._inside(file.parent / "x"):
            raise InvalidRequestError(f"{str(file.parent)!r} is a link to another place, where nothing is written. Remove it.")
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
            os.replace(self._plan, self._manifest)
        self._settings_file.unlink()
        self.model.unlink(missing_ok=True)
        return read_manifest(self._manifest)

    def _settings_before(self):
        try:
            settings = json.loads(self._settings_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return settings if isinstance(settings, dict) else None

    def _refuse_unless(self, force, before):
        if not self.path.is_dir():
            raise OutputExistsError(f"{str(self.path)!r} is a file. Name a folder.")
        if force or not any(self.path.iterdir()):
            return
        changed = [name for name, value in self._settings.items() if before and before.get(name) != value]
        found = f": it holds an unfinished run that differs in {', '.join(changed)}" if changed else ""
        raise OutputExistsError(
            f"{str(self.path)!r} is not empty{found}. Name another folder, or replace what augment_gen wrote there with "
            "force=True."
        )

    def _take(self):
        """Keep other runs out until the with-block ends, or this process does."""
        if fcntl is None:
            return
        while True:
            lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._lock_file.exists() and os.path.samestat(os.fstat(lock), self._lock_file.stat()):
                    self._lock = lock
                    return
            except BlockingIOError as error:
                os.close(lock)
                raise OutputExistsError(
                    f"Another run is writing to {str(self.path)!r}. Wait until it ends, or name another folder."
                ) from error
            os.close(lock)  # the run that had it ended just now, and removed the file

    def _inside(self, file):
        return self.path.resolve() in file.resolve().parents

    def _sweep(self):
        for folder in {self.path, *((self.path / row["file"]).parent for row in self._old)}:
            for part in folder.glob(f"{ASIDE}*.part"):
                if self._inside(part):
                    part.unlink()

    def _clear(self):
        self._sweep()
        for row in self._old:
            file = self.path / row["file"]
            if file.is_file() and self._inside(file) and file.parent != self.path:
                file.unlink()
                for parent in file.parents[: len(Path(row["file"]).parts) - 1]:
                    if not any(parent.iterdir()):
                        parent.rmdir()
        for file in (self._plan, self._settings_file, self.model, self._manifest):
            file.unlink(missing_ok=True)


def progress(out):
    """``(files written, files planned)`` of an unfinished run; None where there is none, or its model is not trained yet."""
    rows = read_manifest(Path(out) / "unfinished.csv")
    return (sum((Path(out) / row["file"]).is_file() for row in rows), len(rows)) if rows else None
