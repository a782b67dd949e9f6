"""What a table looks like as tensors: named blocks, one per column that carries information.

A cell is a *code* (which atom, level, bin, or "missing") and, in columns with a continuous part, a *scalar* (a normal
score). `TableLayout` tells codecs, networks and losses which is where, so that nobody counts offsets by hand.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Block:
    """One column in tensor form.

    Attributes
    ----------
    name : str
        Column name, for messages only.
    size : int
        Number of codes.
    scalar : bool
        Whether the column has a scalar beside its code.
    first_bin : int or None
        The first code that is an ordered bin, where there are any: codes from there to ``first_bin + n_bins`` are bins.
    n_bins : int
        Number of ordered bins.
    """

    name: str
    size: int
    scalar: bool = False
    first_bin: int | None = None
    n_bins: int = 0


@dataclass(frozen=True)
class TableLayout:
    """Blocks of a table, and whether scalars are predicted (a Gaussian head) or only read by the encoder.

    Attributes
    ----------
    blocks : tuple of Block
    gaussian : bool
        True: the scalar's code says "continuous" and the scalar has a Gaussian likelihood. False: the scalar is cut
        into bins, and the code says which.
    """

    blocks: tuple[Block, ...]
    gaussian: bool

    @cached_property
    def sizes(self):
        """int array (n_blocks,): codes per block."""
        return np.array([block.size for block in self.blocks], dtype=np.int64)

    @cached_property
    def offsets(self):
        """int array (n_blocks,): where each block's codes start in one joint vocabulary."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64) if self.blocks else self.sizes

    @cached_property
    def scalar_blocks(self):
        """int array (n_scalars,): the blocks that have a scalar."""
        return np.array([i for i, block in enumerate(self.blocks) if block.scalar], dtype=np.int64)

    def to_dict(self):
        """JSON form; `from_dict` is its inverse."""
        return {"blocks": [asdict(block) for block in self.blocks], "gaussian": self.gaussian}

    @classmethod
    def from_dict(cls, state):
        return cls(tuple(Block(**block) for block in state["blocks"]), bool(state["gaussian"]))
