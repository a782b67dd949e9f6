"""What a table looks like as tensors: named blocks, one per column that carries information.

A cell is a *code* (which atom, level, bin, or "missing") and, in columns with a continuous part, a *scalar* (a normal
score). `TableLayout` tells codecs, networks and losses which is where, so that nobody counts offsets by hand.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from augment_gen.constants import Constants


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
    first_continuous, n_continuous : int
        Codes ``first_continuous`` to ``first_continuous + n_continuous - 1`` are the continuous part: one code where the
        scalar is predicted, one for each ordered bin otherwise, none where the column has no scalar.
    """

    name: str
    size: int
    scalar: bool = False
    first_continuous: int = 0
    n_continuous: int = 0


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

    @cached_property
    def continuous_codes(self):
        """Two int arrays (n_scalars,): first code of each scalar's continuous part, and the first one behind it."""
        blocks = [self.blocks[i] for i in self.scalar_blocks]
        first = np.array([block.first_continuous for block in blocks], dtype=np.int64)
        return first, first + np.array([block.n_continuous for block in blocks], dtype=np.int64)

    @cached_property
    def indices(self):
        """`Constants`: "scalar_blocks", and the "first" and "behind" of `continuous_codes`."""
        first, behind = self.continuous_codes
        return Constants({"scalar_blocks": self.scalar_blocks, "first": first, "behind": behind})

    def to_dict(self):
        """JSON form; `from_dict` is its inverse."""
        return {"blocks": [asdict(block) for block in self.blocks], "gaussian": self.gaussian}

    @classmethod
    def from_dict(cls, state):
        return cls(tuple(Block(**block) for block in state["blocks"]), bool(state["gaussian"]))
