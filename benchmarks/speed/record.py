"""The JSON lines that measurements are kept in: one per process that was run, whether it ended well or not."""

import json
from pathlib import Path


class Record:
    """A file of lines, each with the "key" of what was measured, the "limit" it was given in seconds, and its "error" or None.

    Attributes
    ----------
    lines : list of dict
        The latest line of each key.
    """

    def __init__(self, path):
        self.path = Path(path)
        lines = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        self._latest = {_name(line["key"]): line for line in lines}

    @property
    def lines(self):
        return list(self._latest.values())

    def has(self, key, limit):
        """Whether this was measured, or failed with as much time as it would have now."""
        line = self._latest.get(_name(key))
        return line is not None and (line["error"] is None or limit <= line["limit"])

    def write(self, key, **found):
        line = {"key": key, **found}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._latest[_name(key)] = line


def _name(key):
    return json.dumps(key, sort_keys=True)
