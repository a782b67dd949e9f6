"""Finished cells of a comparison in a file, so that a killed one goes on where it stopped.

Enters: JSON-able records, each under a key. Leaves: the same, in a later process. One line per record; the first line says
what the comparison was made of.
"""

import hashlib
import json
import os
from pathlib import Path

from augment_gen.errors import InvalidParameterError, ModelFileError
from augment_gen.schema import AnyOf, Every, Fields, Scalar, Text, check

FORMAT = 2
RECORD = AnyOf((Fields({"error": Text()}), Fields({"arms": Every(Fields({"arm": Text()})), "notes": Every(Text())})))
LINE = Fields({"key": Every(Scalar()), "record": RECORD, "digest": Text()})


class Checkpoint:
    """A file of finished records; with ``path=None`` nothing is kept.

    Parameters
    ----------
    path : str, path-like or None
    fingerprint : dict of str
        What has to be equal for the records to be usable.

    Raises
    ------
    InvalidParameterError
        The file belongs to something else; the message says what differs.
    """

    def __init__(self, path, fingerprint):
        self.path = None if path is None else Path(path)
        self.records = {}
        if self.path is None:
            return
        if self.path.exists() and not self.path.is_file():
            kind = "a folder" if self.path.is_dir() else "no regular file"
            raise InvalidParameterError(f"checkpoint={str(self.path)!r} is {kind}; give the name of a file.")
        header = {"format": FORMAT, **fingerprint}
        if self.path.exists() and self.path.stat().st_size:
            self._read(header)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)

    def _read(self, header):
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            found = lines[0]
            differing = [name for name in header if found.get(name) != header[name]]
            self.records = {}
            for number, line in enumerate(lines[1:], 2):
                check(line, LINE, f"line {number}")
                if line["digest"] != _digest(line["key"], line["record"]):
                    raise ModelFileError(f"line {number} is not as it was written")
                self.records[tuple(line["key"])] = line["record"]
        except ModelFileError as error:
            raise InvalidParameterError(
                f"checkpoint={str(self.path)!r} is damaged: {error}. Remove that line, and its part is computed anew."
            ) from error
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidParameterError(
                f"checkpoint={str(self.path)!r} exists, but is no checkpoint of compare. Choose another name."
            ) from error
        if differing:
            raise InvalidParameterError(
                f"checkpoint={str(self.path)!r} was written by a comparison with another {', '.join(differing)}. Choose "
                "another name, or delete the file to start anew."
            )
        if len(whole) < len(content):  # the process was killed while it wrote a line
            os.truncate(self.path, len(whole))

    def add(self, key, record):
        """Keep `record` under `key`, a tuple of JSON values; on disk when this returns."""
        self.records[key] = record
        if self.path is not None:
            self._append({"key": list(key), "record": record, "digest": _digest(list(key), record)})

    def _append(self, entry):
        with self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _digest(key, record):
    """Tells a line that was damaged on the disk."""
    return hashlib.sha256(json.dumps([key, record]).encode()).hexdigest()[:16]
