"""Samples drawn once and kept by label, for whatever needs them many times.

Enters: a fitted generator and how many samples of each label. Leaves: those samples, in memory that worker processes
share or in a file that they map, so that no worker ever runs a network.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from augment_gen.codecs import ImageCodec, PILImages, infer_codec
from augment_gen.codecs.dataset import plain_label
from augment_gen.codecs.image import ImageFormat
from augment_gen.dtypes import frame_from_state, frame_to_state, scalar_from_json, scalar_to_json
from augment_gen.errors import InvalidRequestError, InvalidTypeError, ModelFileError, UnknownLabelError
from augment_gen.generators.base import BaseGenerator
from augment_gen.persistence import read_state, write_state
from augment_gen.pipelines.provenance import SYNTHETIC, Provenance, checked_seed
from augment_gen.schema import AnyOf, Array, Every, Fields, Maybe, Scalar, Whole, check
from augment_gen.seeding import stage_generator

KIND = "pool"
LABEL = AnyOf((Scalar(), Fields({})))  # as `scalar_to_json` writes it
STATE = Fields(
    {
        "labels": Every(LABEL, "n_labels"),
        "counts": Every(Whole(), "n_labels"),
        "classes": Every(LABEL),
        "seed": Whole(0, 2**64),
        "format": Maybe(Fields({})),
        "samples": Fields({}),
        "provenance": Fields({}),
    }
)


class SyntheticPool:
    """Synthetic samples of each label, drawn once.

    Draw the pool in the main process, on its GPU if there is one, and give it to datasets and transforms: they only look
    samples up. Images in memory lie in storage that `torch.multiprocessing` shares, so that a worker process is sent a handle;
    with `path` they lie in a file, and a worker is sent its name. Both hold for the start methods fork, spawn and
    forkserver. The generator is not sent along.

    Parameters
    ----------
    generator : object with ``sample(counts, random_state=seed)``
        Fitted.
    counts : dict {label: int}
        How many samples of each label.
    seed : int, default=0
        The same generator, counts and seed give the same samples.
    path : str or path-like, optional
        Keep the samples in this safetensors file, which is mapped into memory (those of a DataFrame are read instead).

    Attributes
    ----------
    counts : dict {label: int}
    labels : list
        Plain Python values, in the order of `counts`.
    classes : list
        All labels that the generator knows, sorted; those of `counts` where it does not say.
    format : ImageFormat or None
        Of images: container, layout, dtype and range of the pixels. None for tables.

    Raises
    ------
    UnknownLabelError
        The generator does not know a label.
    InvalidRequestError
        `counts` is no dict of numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines import SyntheticPool
    >>> digits = load_digits()
    >>> gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(digits.images.astype("uint8"), digits.target)
    >>> pool = SyntheticPool(gen, {3: 20, 8: 50})
    >>> len(pool), pool.rows(8).shape, pool.tensors(8).shape
    (70, (50, 8, 8), torch.Size([50, 1, 8, 8]))
    """

    def __init__(self, generator, counts, seed=0, *, path=None):
        if isinstance(generator, BaseEstimator):
            check_is_fitted(generator)
        if not isinstance(counts, Mapping) or not counts:
            raise InvalidRequestError(f"counts must be a dict {{label: number}}, such as {{'rare': 200}}; got {counts!r}.")
        self.generator, self.seed, self._round = generator, checked_seed(seed), 0
        self._written = None  # the provenance in the file that a pool was opened from
        self.counts = {plain_label(label): n for label, n in counts.items()}
        self.classes = _classes(generator, self.counts)
        codec = getattr(generator, "codec_", None)
        self.format = codec.format_ if isinstance(codec, ImageCodec) else None
        self.path = None if path is None else str(Path(path).absolute())
        self._keep(self._draw(self.seed))
        self._parts = _parts(self.counts)

    # ------------------------------------------------------------- look-ups
    @property
    def labels(self):
        return list(self.counts)

    @property
    def is_image(self):
        """Whether the samples are images."""
        return self.format is not None

    @property
    def value_range(self):
        """``(low, high)``: the pixel values of black and white."""
        return self._images_only().low, self.format.high

    def __len__(self):
        return sum(self.counts.values())

    def __contains__(self, label):
        return plain_label(label) in self.counts

    def rows(self, label=None):
        """The samples of one label, or all in the order of `labels`, in the format that the generator was fitted on."""
        part = self._part(label)
        if not self.is_image:
            return self._samples.iloc[part].reset_index(drop=True) if self._is_frame else self._samples[part]
        if self.format.container == "Tensor":
            return self._samples[part]
        array = self._samples[part].numpy()
        return {"ndarray": np.asarray, "list": list, "pil": PILImages}[self.format.container](array)

    def item(self, label, number):
        """Sample `number` of one label in its own format, as a copy; a row of a DataFrame as a dict {column: value}."""
        part = self._part(label)
        place = range(part.start, part.stop)[number]
        if self._is_frame:
            return {name: column.iloc[place] for name, column in self._samples.items()}
        if not self.is_image:
            row = self._samples[place]
            return row.clone() if isinstance(row, torch.Tensor) else row.copy()
        if self.format.container == "Tensor":
            return self._samples[place].clone()
        array = self._samples[place].numpy().copy()
        return PILImages(array[None])[0] if self.format.container == "pil" else array

    def tensors(self, label=None):
        """Images of one label, or all of them, as a tensor (n, C, H, W) in the generator's pixel dtype and range.

        It is a view: do not write to it.
        """
        layout, images = self._images_only().layout, self._samples[self._part(label)]
        return images.unsqueeze(1) if layout == "nhw" else images.permute(0, 3, 1, 2) if layout == "nhwc" else images

    def arrays(self, label=None):
        """As `tensors`, but an ndarray (n, H, W), or (n, H, W, C) where there are several channels."""
        images = self.tensors(label)
        return (images[:, 0] if images.shape[1] == 1 else images.permute(0, 2, 3, 1)).numpy()

    # ---------------------------------------------------------------- redraw
    def refresh(self, seed=None):
        """Draw all samples anew: from `seed`, or from the next of a series of seeds that the pool's own began.

        Call it in the main process, between epochs. Workers that start afterwards have the new samples, so leave
        ``persistent_workers`` off.

        Returns
        -------
        self

        Raises
        ------
        InvalidRequestError
            The pool was opened from a file or sent to another process, and so has no generator.
        """
        if self.generator is None:
            raise InvalidRequestError(
                "This pool has no generator: it was opened from a file, or sent to another process. Refresh the pool that "
                "drew the samples, in the main process."
            )
        self._round += 1
        next_seed = int(stage_generator(self.seed, self._round).integers(2**32))
        self._keep(self._draw(next_seed if seed is None else checked_seed(seed)))
        return self

    def _draw(self, seed):
        self._drawn_from = seed
        samples, drawn = self.generator.sample(self.counts, random_state=seed)
        wanted = np.repeat(np.arange(len(self.counts)), list(self.counts.values()))
        assert len(drawn) == len(wanted), "the generator returned another number of samples than it was asked for"
        if self.format is None and isinstance(infer_codec(samples)(), ImageCodec):
            self.format = ImageCodec().fit(samples, wanted).format_
        return samples

    def _keep(self, samples):
        self._samples = self._storable(samples)
        if self.path is not None:
            self.save(self.path)
            self._samples = self.open(self.path)._samples

    def _storable(self, samples):
        if self.is_image and not isinstance(samples, torch.Tensor):
            array = np.ascontiguousarray(np.asarray(samples))
            return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
        return samples

    # ------------------------------------------------------------------ file
    def save(self, path):
        """Write the pool to one safetensors file, atomically. It says that its contents are synthetic.

        Raises
        ------
        ModelFileError
            A label or a cell cannot be written as JSON.
        OSError
        """
        if self._is_frame:
            samples = frame_to_state(self._samples)
        else:
            samples = {"array": self._samples if isinstance(self._samples, torch.Tensor) else np.asarray(self._samples)}
        state = {
            "labels": [scalar_to_json(label) for label in self.counts],
            "counts": list(self.counts.values()),
            "classes": [scalar_to_json(label) for label in self.classes],
            "seed": self._drawn_from,
            "format": None if self.format is None else vars(self.format),
            "samples": samples,
            "provenance": self._provenance(),
        }
        write_state(path, state, KIND)

    @classmethod
    def open(cls, path):
        """The pool in a file that `save` wrote; images and arrays stay in the file and are mapped into memory.

        Raises
        ------
        FileNotFoundError
        ModelFileError
            The file is damaged, or holds no pool.
        """
        state = read_state(path, KIND, mapped=True)
        try:
            return cls._from_state(state, str(Path(path).absolute()))
        except MemoryError:
            raise
        except ModelFileError as error:
            raise ModelFileError(f"The pool file is damaged: {error}") from error
        except Exception as error:  # whatever a damaged or hostile state trips over, callers get one kind of error
            raise ModelFileError(f"The pool file is damaged: {type(error).__name__}: {error}") from error

    @classmethod
    def _from_state(cls, state, path):
        check(state, STATE, "the pool")
        self = cls.__new__(cls)
        self.generator, self.path, self.seed, self._round = None, path, checked_seed(state["seed"]), 0
        self._drawn_from, self._written = self.seed, state["provenance"]
        self.classes = [scalar_from_json(label) for label in state["classes"]]
        self.counts = dict(zip(map(scalar_from_json, state["labels"]), state["counts"], strict=True))
        self._parts = _parts(self.counts)
        self.format = None if state["format"] is None else ImageFormat.from_state(state["format"])
        samples = state["samples"]
        self._samples = samples["array"] if "array" in samples else frame_from_state(samples)
        if self.is_image:
            self._check_images(self._samples)
        elif not self._is_frame:
            is_tensor = isinstance(self._samples, torch.Tensor)
            check(self._samples, Array("biufmM", "n_rows", "n_columns", finite=False, tensor=is_tensor), "the pool/samples")
        if len(self._samples) != sum(self.counts.values()):
            raise ModelFileError(f"counts and samples differ: {sum(self.counts.values())} and {len(self._samples)}.")
        return self

    def _check_images(self, samples):
        form = self.format
        shape = [{"n": "n_rows", "h": form.height, "w": form.width, "c": form.channels}[axis] for axis in form.layout]
        check(samples, Array("iuf", *shape, finite=False, tensor=True), "the pool/samples")
        dtype = form.dtype if form.container == "Tensor" else np.dtype(form.dtype).newbyteorder("=").name
        if str(samples.dtype) != f"torch.{dtype}":
            raise ModelFileError(f"the pool/samples: expected a tensor of {dtype}.")

    def __getstate__(self):
        state = {**self.__dict__, "generator": None}
        if self.path is not None:
            del state["_samples"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.path is not None:
            opened = self.open(self.path)
            if (opened.counts, list(opened.counts), opened.format) != (self.counts, self.labels, self.format):
                raise ModelFileError(
                    f"{Path(self.path).name} holds another pool than when this one was sent. Give every pool a file of its own."
                )
            self._samples = opened._samples

    # --------------------------------------------------------------- private
    def _provenance(self):
        """Where the samples come from, as far as it is known; always that they are synthetic."""
        if isinstance(self.generator, BaseGenerator):
            try:
                return Provenance.of(self.generator, self._drawn_from).record()
            except ModelFileError:  # a parameter that is code: no file, and so no hash, of the model
                pass
        return self._written or {"digitalSourceType": SYNTHETIC}

    @property
    def _is_frame(self):
        return isinstance(self._samples, pd.DataFrame)

    def _images_only(self):
        if self.format is None:
            raise InvalidTypeError("The pool holds rows of a table, not images. Use rows(label).")
        return self.format

    def _part(self, label):
        if label is None:
            return slice(0, len(self))
        label = plain_label(label)
        if label not in self._parts:
            known = ", ".join(map(repr, self.labels[:20]))
            raise UnknownLabelError(f"The pool holds no samples of {label!r}. Its labels: {known}.")
        return self._parts[label]

    def __repr__(self):
        where = "" if self.path is None else f", path={self.path!r}"
        return f"SyntheticPool({len(self)} samples of {len(self.counts)} labels{where})"


def _parts(counts):
    """{label: slice}: where the samples of each label lie."""
    ends = np.cumsum(list(counts.values())).tolist()
    return {label: slice(end - n, end) for (label, n), end in zip(counts.items(), ends, strict=True)}


def _classes(generator, counts):
    classes = getattr(generator, "classes_", None)
    return sorted(counts, key=str) if classes is None else np.asarray(classes).tolist()
