"""What `evaluate` is given, checked, and the synthetic rows it draws: everything that can be refused, before any training.

Enters: the user's X and y of both parts and a generator. Leaves: `Parts`, rows in the user's format with class indices.
"""

import inspect
import warnings
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _num_samples, check_is_fitted

from augment_gen.codecs import infer_codec
from augment_gen.conditioning import ConditionEncoder
from augment_gen.errors import EvaluationWarning, InvalidDataError, InvalidParameterError, InvalidTypeError, UnknownLabelError
from augment_gen.evaluation.table_rows import TableRows
from augment_gen.seeding import draw_seed

MOST = 0.5  # share of test rows among the training rows from which there is nothing left to hold out
BEYOND_NATURAL = 0.2  # by which that share has to exceed what repeats among the training rows themselves
MIN_RARE_ROWS = 200  # of a class that stay, if it has them, when `max_rows` thins the others
MAX_VALUES = 2**27  # pixel values of the images drawn


@dataclass(frozen=True)
class Parts:
    """Training, held-out and synthetic rows, each with class indices.

    Attributes
    ----------
    modality : {"table", "image"}
    labels : list
        The classes, by index.
    train, test, synthetic : object
        What the figures are computed from: a DataFrame with the training columns, or float32/uint8 images (n, C, H, W).
        Of the test rows no more than are used.
    train_class, test_class, synthetic_class : int64 arrays
    X_synthetic, y_synthetic : object
        The drawn rows and their labels in the user's own format.
    train_keys, test_keys, synthetic_keys : uint64 arrays
        Equal for equal rows.
    reader : TableRows or Codec
        What read the rows.
    twin : int64 array
        Positions of training rows, as many of each class as were drawn: what takes the synthetic rows' place.
    """

    modality: str
    labels: list
    train: object
    test: object
    synthetic: object
    train_class: np.ndarray
    test_class: np.ndarray
    synthetic_class: np.ndarray
    X_synthetic: object
    y_synthetic: object
    train_keys: np.ndarray
    test_keys: np.ndarray
    synthetic_keys: np.ndarray
    reader: object
    twin: np.ndarray

    @property
    def n_classes(self):
        return len(self.labels)


def read_parts(generator, X_test, y_test, X_train, y_train, max_rows, rng):
    """Check everything, draw the synthetic rows, and return `Parts`.

    Raises
    ------
    InvalidDataError, InvalidTypeError, InvalidParameterError
        See `evaluate`.
    """
    _check_generator(generator)
    if isinstance(max_rows, bool) or not isinstance(max_rows, Integral) or max_rows < 100:
        raise InvalidParameterError(f"max_rows must be an integer of at least 100; got {max_rows!r}.")
    _check_lengths(X_train, y_train, "X_train", "y_train")
    _check_lengths(X_test, y_test, "X_test", "y_test")
    conditions, train_class = ConditionEncoder().fit(y_train)
    if len(conditions) < 2:
        raise InvalidDataError(f"y_train has 1 class ({conditions.classes_.tolist()[0]!r}); at least two are needed.")
    labels = conditions.classes_.tolist()
    test_class = _encode_test(conditions, y_test)
    modality = infer_codec(X_train).modality
    if infer_codec(X_test).modality != modality:
        raise InvalidDataError(f"X_train is {_a(modality)}, but X_test is {_a(infer_codec(X_test).modality)}.")
    reader, read, keys = _readers(modality, X_train, train_class)
    train, test = read(X_train, "X_train"), read(X_test, "X_test")
    train_keys, test_keys = keys(train), keys(test)
    _check_overlap(train_keys, test_keys)
    _warn_of_missing_classes(labels, test_class)
    limit = _row_limit(modality, train, max_rows)
    test_rows = np.sort(_pick(test_class, _rows_to_draw(np.bincount(test_class, minlength=len(labels)), 2 * limit), rng))
    counts = _rows_to_draw(np.bincount(train_class, minlength=len(labels)), limit)
    X_synthetic, synthetic = _draw(generator, labels, counts, read, rng)
    synthetic_class = np.repeat(np.arange(len(labels)), counts)
    index = X_synthetic.index if isinstance(X_synthetic, pd.DataFrame) else None
    return Parts(
        modality=modality,
        labels=labels,
        train=train,
        test=test.iloc[test_rows] if modality == "table" else test[test_rows],
        synthetic=synthetic,
        train_class=train_class,
        test_class=test_class[test_rows],
        synthetic_class=synthetic_class,
        X_synthetic=X_synthetic,
        y_synthetic=conditions.decode(synthetic_class, index),
        train_keys=train_keys,
        test_keys=test_keys[test_rows],
        synthetic_keys=keys(synthetic),
        reader=reader,
        twin=_pick(train_class, counts, rng),
    )


def matched(parts, cap, rng, usable=None):
    """Positions of test, training and synthetic rows with the same number of each class, classes in order.

    Parameters
    ----------
    parts : Parts
    cap : int
        Rows of each part, at most; the classes are thinned alike.
    rng : numpy.random.Generator
    usable : int array, optional
        Positions of the training rows that may be picked; by default all.

    Returns
    -------
    test, train, synthetic, counts : int64 arrays
        Three arrays of positions, each of length ``counts.sum()``, and rows per class.
    """
    usable = np.arange(len(parts.train_class)) if usable is None else usable
    classes = parts.test_class, parts.train_class[usable], parts.synthetic_class
    counts = np.min([np.bincount(one, minlength=parts.n_classes) for one in classes], axis=0)
    counts = _rows_to_draw(counts, cap)
    test, train, synthetic = (_pick(one, counts, rng) for one in classes)
    return test, usable[train], synthetic, counts


def class_rows(counts, k):
    """The slice of class `k` in the arrays that `matched` gave."""
    start = int(counts[:k].sum())
    return slice(start, start + int(counts[k]))


def _pick(class_index, counts, rng):
    """Random positions, ``counts[k]`` of each class, classes in order."""
    picks = [rng.permutation(np.flatnonzero(class_index == k))[:n] for k, n in enumerate(counts)]
    return np.concatenate(picks).astype(np.int64)


def _rows_to_draw(counts, limit):
    if counts.sum() <= limit:
        return counts.astype(np.int64)
    floor = np.minimum(counts, max(1, min(MIN_RARE_ROWS, limit // len(counts))))
    left = max(0, limit - floor.sum())
    rows = (floor + np.floor((counts - floor) * left / max(1, (counts - floor).sum()))).astype(np.int64)
    rows[counts.argmax()] += max(0, limit - rows.sum())  # what rounding left over
    return np.minimum(rows, counts)


def _row_limit(modality, train, max_rows):
    return max_rows if modality == "table" else max(100, min(max_rows, MAX_VALUES // int(np.prod(train.shape[1:]))))


# ---------------------------------------------------------------- generator
def _check_generator(generator):
    if inspect.isclass(generator):
        raise InvalidTypeError(f"generator must be an object, not the class {generator.__name__}: give a fitted one.")
    if not callable(getattr(generator, "sample", None)):
        raise InvalidTypeError(
            f"generator must have a method sample(n, y=label); {type(generator).__name__} has none. Samplers with "
            "fit_resample alone (SMOTE) can be compared by `compare`."
        )
    if isinstance(generator, BaseEstimator):
        check_is_fitted(generator)


def _draw(generator, labels, counts, read, rng):
    """``(rows in the user's format, the same rows as `read` gives them)``: ``counts[k]`` of each label, in order."""
    parameters = inspect.signature(generator.sample).parameters
    pieces = []
    for label, n in zip(labels, counts, strict=True):
        if n == 0:
            continue
        seed = {"random_state": draw_seed(rng) % 2**31} if "random_state" in parameters else {}
        drawn = generator.sample(int(n), y=label, **seed)
        drawn = drawn[0] if isinstance(drawn, tuple) and len(drawn) == 2 else drawn
        if _num_samples(drawn) != n:
            raise InvalidDataError(
                f"generator.sample({n}, y={label!r}) gave {_num_samples(drawn)} rows; it must give as many as asked for."
            )
        pieces.append(drawn)
    X = _joined(pieces)
    return X, read(X, "What generator.sample gave")


def _joined(pieces):
    if isinstance(pieces[0], pd.DataFrame):
        return pd.concat(pieces, ignore_index=True)
    if isinstance(pieces[0], list):
        return [row for piece in pieces for row in piece]
    if type(pieces[0]).__module__.startswith("torch"):
        import torch

        return torch.cat(pieces)
    return np.concatenate(pieces)


# --------------------------------------------------------------------- rows
def _check_lengths(X, y, X_name, y_name):
    if X is None or y is None:
        raise InvalidDataError(f"{X_name} and {y_name} must both be given; got None.")
    if _num_samples(X) != _num_samples(y):
        raise InvalidDataError(f"{X_name} has {_num_samples(X)} rows, but {y_name} {_num_samples(y)} labels.")
    if _num_samples(X) == 0:
        raise InvalidDataError(f"{X_name} has no rows.")


def _encode_test(conditions, y_test):
    try:
        return conditions.encode(y_test, "y_test")
    except UnknownLabelError as error:
        detail = str(error).replace("y_test asks for", "y_test holds").replace("seen in fit", "in y_train")
        raise InvalidDataError(f"{detail} Drop those test rows, or train on that class.") from error


def _readers(modality, X_train, train_class):
    """``(reader, read(X, where), keys(rows))`` for tables or images."""
    if modality == "table":
        rows = TableRows().fit(X_train)
        if not rows.names:
            raise InvalidDataError("X_train has no columns.")
        return rows, rows.read, rows.keys
    codec = infer_codec(X_train)().fit(X_train, train_class)

    def read(X, where):
        try:
            return codec.encode(X)["images"]
        except (InvalidDataError, InvalidTypeError) as error:
            raise InvalidDataError(f"{where}: {error}") from error

    return codec, read, _image_keys


def _image_keys(images):
    frame = images.reshape(len(images), -1).numpy()
    return pd.util.hash_array(np.array([row.tobytes() for row in frame], dtype=object), categorize=False)


def _check_overlap(train_keys, test_keys):
    """Refuse a test set that is mostly training rows; warn of a smaller overlap that is not natural."""
    n_shared = int(np.isin(test_keys, train_keys).sum())
    share = n_shared / len(test_keys)
    _, inverse, repeats = np.unique(train_keys, return_inverse=True, return_counts=True)
    natural = float((repeats[inverse] > 1).mean())  # training rows that another training row equals
    said = f"{n_shared} of {len(test_keys)} rows of X_test ({share:.0%}) are also in X_train"
    if share > MOST and share > natural + BEYOND_NATURAL:
        raise InvalidDataError(
            f"{said}, where {natural:.0%} of the training rows repeat. Rows that were trained on cannot tell whether synthetic "
            "rows are copies, or useful. Give rows that the generator has not seen."
        )
    expected = (natural * len(train_keys) + 1) / (len(train_keys) + 2)  # not 0: a row may repeat for the first time
    error = np.sqrt(expected * (1 - expected) / len(test_keys))
    if share > natural + max(3 * error, 0.01):
        warnings.warn(
            f"{said}, where {natural:.1%} of the training rows repeat: the two parts overlap. Figures look better, and copies "
            "rarer, than they are; drop those rows from X_test.",
            EvaluationWarning,
            stacklevel=4,
        )


def _warn_of_missing_classes(labels, test_class):
    absent = [label for k, label in enumerate(labels) if not (test_class == k).any()]
    if len(absent) == len(labels):
        raise InvalidDataError("y_test holds none of the classes of y_train.")
    if absent:
        warnings.warn(
            f"No row of class {', '.join(map(repr, absent[:5]))} in X_test: there are no figures for it, and those over all "
            "classes leave it out. Split with stratify=y.",
            EvaluationWarning,
            stacklevel=4,
        )


def _a(modality):
    return {"table": "a table", "image": "a set of images"}.get(modality, modality)
