"""What every codec does: the user's format in, tensors out, and back."""

from abc import ABC, abstractmethod


class Codec(ABC):
    """Between the user's X and tensors. A new modality is one subclass and one line in ``codecs/__init__.py``.

    The life of X: `encode` turns it once into *rows*, a dict of CPU tensors whose first axis is n and which stay on the
    device during training; `inputs` turns a batch of rows into what the network reads, on that device and anew in each
    step (so ties and noise are drawn afresh); `decode` turns what the network sampled back into X's own format.
    """

    modality: str
    block_rows = 4096  # rows that are drawn at a time and share a stream of noise; the same for a fitted codec's whole life

    @classmethod
    @abstractmethod
    def accepts(cls, X):
        """Whether this codec is for X, judged by type and number of axes only."""

    @abstractmethod
    def fit(self, X, class_index):
        """Learn the format and the values of X; `class_index` is an int64 array (n,). Returns self."""

    @abstractmethod
    def encode(self, X):
        """Rows: dict of CPU tensors, first axis n. Raises InvalidDataError where X differs from what was fitted."""

    @abstractmethod
    def inputs(self, rows, generator):
        """What the network reads for a batch of rows; `generator` is a torch.Generator on the rows' device."""

    @abstractmethod
    def decode(self, outputs, class_index, rng):
        """X's own format from sampled outputs (dict of CPU tensors, first axis n), one block of rows at a time.

        `rng` is the block's numpy generator, `class_index` the int64 array (n,) of the classes asked for.
        """

    @abstractmethod
    def vectors(self, X):
        """float32 ndarray (n, p) in which Euclidean distance is meaningful: for the filters that look for copies."""

    @abstractmethod
    def fingerprints(self, X):
        """uint64 (n,): the same for equal rows, as they are written in X's own format; None where rows that are equal to
        training rows are coincidences, because X has no continuous part."""

    @abstractmethod
    def join(self, parts):
        """One X from a list of decoded blocks, in order."""

    @abstractmethod
    def take(self, X, index):
        """Rows of X at the positions in the int array `index`, in X's own format."""

    @abstractmethod
    def concatenate(self, X, X_new):
        """X exactly as it was, and X_new after it."""

    @abstractmethod
    def state(self):
        """Nested dict of JSON values and arrays, from which `from_state` rebuilds the codec."""

    @classmethod
    @abstractmethod
    def from_state(cls, state):
        """The codec that `state` described."""
