"""The data that everything is timed on: tables and images of any size, the same for all competitors.

Enters: a `Workload`, and folders of real data where there are some. Leaves: a file that every competitor's process reads, so
that one that has other versions of the libraries gets the same values. Needs numpy, pandas, scikit-learn and pyarrow only.
"""

import gzip
import io
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits, make_classification

LABEL = "label"
LEVELS = {"low": 5, "high": 500}  # categories of a categorical column, with Zipf's frequencies
RARE = 0.05  # share of the rarest class of a made table of two classes


@dataclass(frozen=True)
class Workload:
    """What is to be learned.

    Attributes
    ----------
    kind : {"table", "adult", "images"}
    rows : int
    columns : int
        Of a made table; half of them are numeric, half categorical.
    cardinality : {"low", "high", "none"}
        Categories of a categorical column: 5 or 500; none makes all columns numeric.
    classes : int
    side : int
        Height and width of images. 28 pixels are grey, others RGB.
    """

    kind: str
    rows: int
    columns: int = 0
    cardinality: str = "low"
    classes: int = 2
    side: int = 0

    @property
    def name(self):
        if self.kind == "images":
            return f"{self.rows:,} images of {self.side} px"
        if self.kind == "adult":
            return f"Adult, {self.rows:,} rows"
        return f"{self.rows:,} x {self.columns}, {self.cardinality}, {self.classes} classes"

    def as_dict(self):
        return asdict(self)


def write(workload, folder, real, seed=0):
    """Write the data of a workload into a folder, unless they are there; returns the path.

    `real` is a dict {"adult", "mnist", "cifar": Path or None}.
    """
    suffix = "npz" if workload.kind == "images" else "parquet"
    name = "_".join(str(value) for value in workload.as_dict().values())
    path = Path(folder) / f"{name}_{seed}.{suffix}"
    if path.exists():
        return path
    if workload.kind == "images":
        images, labels = _images(workload, real, np.random.default_rng(seed))
        np.savez(path, images=images, labels=labels)
    else:
        frame = _adult(real["adult"], workload, seed) if workload.kind == "adult" else _made_table(workload, seed)
        frame.to_parquet(path, index=False)
    return path


def read(path):
    """``(X, y)`` of a file that `write` wrote: a DataFrame and a Series, or uint8 images and int64 labels."""
    if Path(path).suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["images"], arrays["labels"]
    frame = pd.read_parquet(path)
    return frame.drop(columns=LABEL), frame[LABEL]


def _made_table(workload, seed):
    """scikit-learn's ``make_classification``, with every second column cut into categories."""
    rng = np.random.default_rng(seed)
    informative = min(workload.columns, 10)
    weights = [1 - RARE, RARE] if workload.classes == 2 else None
    X, y = make_classification(
        workload.rows, workload.columns, n_informative=informative, n_redundant=0, n_classes=workload.classes,
        n_clusters_per_class=1, weights=weights, flip_y=0.0, random_state=seed,
    )  # fmt: skip
    columns = {f"x{i}": X[:, i] for i in range(workload.columns)}
    if workload.cardinality != "none":
        levels = LEVELS[workload.cardinality]
        shares = np.cumsum(1 / np.arange(1, levels + 1))
        for i in range(1, workload.columns, 2):
            cuts = np.quantile(X[:, i], shares[:-1] / shares[-1])
            columns[f"x{i}"] = pd.Series(np.searchsorted(cuts, X[:, i])).map(lambda code: f"c{code}")
    frame = pd.DataFrame(columns)
    frame[LABEL] = pd.Series(y).map(lambda k: f"class {k}")
    return frame.iloc[rng.permutation(len(frame))]


def _adult(path, workload, seed):
    """The training table of Adult (Kohavi 1996), or that many of its rows; repeated where more are asked for."""
    frame = _read_adult(Path(path) / "train.csv")
    if workload.rows != len(frame):
        frame = frame.sample(workload.rows, replace=workload.rows > len(frame), random_state=seed)
    return frame.reset_index(drop=True)


def adult_test(path):
    """``(X, y)`` of Adult's test table."""
    frame = _read_adult(Path(path) / "test.csv")
    return frame.drop(columns=LABEL), frame[LABEL]


def _read_adult(file):
    """Missing cells, which are all in columns of text, as "?" like in the original: SMOTENC and CTGAN refuse others."""
    return pd.read_csv(file, skipinitialspace=True).fillna("?").rename(columns={"income": LABEL})


def _images(workload, real, rng):
    """Real images, resized, and repeated (moved by up to two pixels) as need be: MNIST at 28 pixels, CIFAR-10, or digits."""
    if workload.side == 28 and real["mnist"]:
        image, labels = _mnist(real["mnist"])
    elif workload.side != 28 and real["cifar"]:
        image, labels = _cifar(real["cifar"])
    else:
        digits = load_digits()
        image, labels = (digits.images * 15.9375).astype(np.uint8).__getitem__, digits.target
    rows = rng.permutation(len(labels))[: workload.rows]
    rows = np.concatenate([rows, rng.integers(len(labels), size=workload.rows - len(rows))])
    images = np.stack([_resized(image(row), workload.side, rng, moved=i >= len(labels)) for i, row in enumerate(rows)])
    return images, labels[rows].astype(np.int64)


def _resized(image, side, rng, moved):
    from PIL import Image

    mode = "L" if side == 28 else "RGB"
    image = np.asarray(Image.fromarray(image).convert(mode).resize((side, side), Image.Resampling.BILINEAR))
    return np.roll(image, rng.integers(-2, 3, size=2), axis=(0, 1)) if moved else image


def _mnist(folder):
    """A function from row to image, and labels, of whichever of MNIST's IDX files lie in a folder."""
    read = lambda path, header: np.frombuffer(gzip.decompress(path.read_bytes()), dtype=np.uint8, offset=header)
    images = [read(path, 16).reshape(-1, 28, 28) for path in sorted(Path(folder).glob("*images-idx3-ubyte.gz"))]
    labels = [read(path, 8) for path in sorted(Path(folder).glob("*labels-idx1-ubyte.gz"))]
    return np.concatenate(images).__getitem__, np.concatenate(labels)


def _cifar(folder):
    """As `_mnist`, of CIFAR-10's training images, from a Parquet file of PNGs (first column the file, last the label)."""
    from PIL import Image

    frame = pd.read_parquet(Path(folder) / "train.parquet")
    cells, classes = frame.iloc[:, 0], np.unique(frame.iloc[:, -1], return_inverse=True)[1]
    file = lambda row: cells[row]["bytes"] if isinstance(cells[row], dict) else cells[row]
    return lambda row: np.asarray(Image.open(io.BytesIO(file(row)))), classes
