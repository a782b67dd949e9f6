"""What a section of the report is made of."""

import re
from dataclasses import dataclass
from itertools import groupby

MAX_ROWS = 20  # of a table that are shown at once; the others unfold
MAX_UNFOLDED = 300  # rows that a table has at all
MAX_WIDTH = 14  # characters of a word beyond which it is broken, for all that the column cares
NUMBER = re.compile(r"([✓~✗] )?[-+]?[\d.,]+[%x]?( (to )?[-+(]?[\d.,]+\)?)?|n too small")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    caption : str
    columns : list of str
    rows : list of tuple
        Of str, or of `Picture`; the first cell names the row.
    note : str
        Below the table.
    """

    caption: str
    columns: list
    rows: list
    note: str = ""

    @property
    def first(self):
        return self.rows[:MAX_ROWS]

    @property
    def others(self):
        return self.rows[MAX_ROWS:MAX_UNFOLDED]

    def is_number(self, i):
        """Whether column `i` holds numbers only, which are set flush right."""
        texts = [cells[i] for cells in self.rows if cells[i] != ""]
        return i > 0 and bool(texts) and all(isinstance(text, str) and NUMBER.fullmatch(text) for text in texts)

    @property
    def widths(self):
        """list of int: characters that the longest word of each column needs, within bounds, so that no short word is cut."""
        texts = lambda i: [self.columns[i], *(cells[i] for cells in self.rows[:MAX_UNFOLDED] if isinstance(cells[i], str))]
        longest = lambda i: max((len(word) for text in texts(i) for word in text.split(" ")), default=0)
        return [min(MAX_WIDTH, longest(i)) + 2 for i in range(len(self.columns))]

    @property
    def n_left_out(self):
        return max(0, len(self.rows) - MAX_UNFOLDED)


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes
    ----------
    id, title : str
    blocks : list
        str (a paragraph), `Plot` or `Table`.
    """

    id: str
    title: str
    blocks: list

    @property
    def groups(self):
        """``[(kind, blocks)]`` of neighbours of one kind, "text", "tables" or "plots", which are laid out together."""
        kind = lambda block: "text" if isinstance(block, str) else "tables" if isinstance(block, Table) else "plots"
        return [(name, list(blocks)) for name, blocks in groupby(self.blocks, kind)]
