"""The JSON lines that measurements are kept in: one per process that was run, whether it ended well or not."""

import json
from pathlib import Path


class Record:
    """A file of lines, each with the "key" of what was measured; what has a line is not measured again."""

    def __init__(self, path):
        self.path = Path(path)
        self.lines = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        self._done = {json.dumps(line["key"], sort_keys=True) for line in self.lines}

    def has(self, key):
        return json.dumps(key, sort_keys=True) in self._done

    def write(self, key, **found):
        line = {"key": key, **found}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.lines.append(line)
        self._done.add(json.dumps(key, sort_keys=True))
