"""How good a generator's rows are: `evaluate` draws some and puts each figure beside what real rows get.

Enters: anything with ``sample(n, y=label)``, training rows and held-out ones. Leaves: a `GenerationResult`.
"""

import html
import textwrap
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from tqdm import tqdm

from augment_gen.errors import InvalidParameterError
from augment_gen.evaluation.fidelity import table_fidelity
from augment_gen.evaluation.fidelity_image import image_fidelity, pixel_vectors
from augment_gen.evaluation.inputs import read_parts
from augment_gen.evaluation.metrics import ALL, METRICS
from augment_gen.evaluation.privacy import copy_figures
from augment_gen.evaluation.verdict import Verdict, grade, judge
from augment_gen.seeding import draw_seed, numpy_generator

MAP_ROWS = 1000  # real, and synthetic, rows on the map
COLUMNS = ["group", "class", "metric", "value", "floor", "ceiling", "low", "high", "score", "grade", "n", "note"]


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """How good synthetic rows are, in figures and in words; `evaluate` makes it.

    Attributes
    ----------
    modality : {"table", "image"}
    labels : list
        The classes.
    judgement : Verdict
        The verdict in parts: ``level``, ``copies``, ``sentences``.
    X_synthetic, y_synthetic : object
        The rows that were drawn, in the user's format, and their labels.
    gallery : DataFrame
        The synthetic rows nearest to training rows: positions in ``X_synthetic`` and ``X_train``, and distances.
    columns, pairs : DataFrame
        Per column, and per pair of columns, what the figures on a table sum up. Empty for images.
    map : DataFrame
        Held-out and synthetic rows in two dimensions (principal components of their features): "x", "y", "kind", "class".
    features : str
        Where image features come from; "" for tables.
    n_train, n_test : int
        Training rows given, and held-out rows used.
    seconds : float
    """

    modality: str
    labels: list
    judgement: Verdict
    X_synthetic: object
    y_synthetic: object
    gallery: pd.DataFrame
    columns: pd.DataFrame
    pairs: pd.DataFrame
    map: pd.DataFrame
    features: str
    n_train: int
    n_test: int
    seconds: float
    figures: tuple

    @property
    def verdict(self):
        """str: the verdict in words, a sentence or two per line."""
        return str(self.judgement)

    def frame(self):
        """All figures, one row each.

        Returns
        -------
        DataFrame
            "group" (fidelity, diversity, usefulness, copies), "class" ("(all)" for a figure over all classes), "metric"
            (a key of ``augment_gen.evaluation.METRICS``, which says what it means), "value", "floor" (a generator that knows
            nothing), "ceiling" (real rows), "low" and "high" (95 % interval, where there is one), "score" (where the value
            lies from floor, 0, to ceiling, 1), "grade" (of those that are judged), "n" (rows of the smaller side) and "note".
        """
        rows = [
            (
                METRICS[f.metric].group,
                f.label,
                f.metric,
                f.value,
                f.floor,
                f.ceiling,
                f.low,
                f.high,
                f.score,
                grade(f),
                f.n,
                f.note,
            )
            for f in self.figures
        ]
        columns = zip(COLUMNS, zip(*rows, strict=True), strict=True)
        as_they_are = ("class", "grade")
        return pd.DataFrame(
            {name: pd.Series(values, dtype=object if name in as_they_are else None) for name, values in columns}
        )

    def _overall(self):
        frame = self.frame()[[f.label is ALL for f in self.figures]]
        return frame[["metric", "value", "floor", "ceiling", "low", "high", "score", "n"]]

    def _per_class(self):
        """Metrics by classes: "value (ceiling)"."""
        cells = {}
        for f in self.figures:
            if f.label is not ALL:
                text = "n too small" if f.note.startswith("n too small") else f"{f.value:.3g} ({f.ceiling:.3g})"
                cells.setdefault(f.metric, {})[f.label] = text
        return pd.DataFrame(cells, index=pd.Index(self.labels, name="class", dtype=object)).fillna("").T

    def _per_class_given(self):
        """``(that table without rows of which every class has too few, the names of these)``."""
        table = self._per_class()
        lacking = (table == "n too small").all(axis=1)
        return table[~lacking], list(table.index[lacking])

    def __str__(self):
        lines = [textwrap.fill(sentence, 120) for sentence in self.judgement.sentences]
        shown = self._overall().set_index("metric").to_string(float_format=lambda x: f"{x:.3g}", na_rep="", max_rows=None)
        per_class, lacking = self._per_class_given()
        lines += ["", shown, "", "Per class, value (ceiling):", per_class.to_string(max_cols=12)]
        return "\n".join([*lines, *([f"n too small in every class: {', '.join(lacking)}"] if lacking else [])])

    __repr__ = __str__

    def _repr_html_(self):
        said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.judgement.sentences)
        overall = self._overall().to_html(index=False, float_format=lambda x: f"{x:.3g}", na_rep="", border=0)
        per_class, lacking = self._per_class_given()
        lacking = f"<p>n too small in every class: {', '.join(lacking)}</p>" if lacking else ""
        return f"<div>{said}{overall}<p>Per class, value (ceiling):</p>{per_class.to_html(border=0)}{lacking}</div>"


def evaluate(
    generator,
    X_test,
    y_test,
    *,
    X_train,
    y_train,
    features="classifier",
    max_rows=10_000,
    device="auto",
    random_state=None,
    verbose=0,
):
    """Draw synthetic rows and say how good they are, each figure beside its floor and its ceiling.

    Each figure comes per class and over all classes. Its *ceiling* is what training rows get in the place of the synthetic
    ones, from as many rows; its *floor* what worthless rows get. Both are computed from this data, because no figure means
    anything by itself. ``METRICS`` says of each figure what it, its floor and its ceiling are, how many rows it needs, and
    from where it counts as good.

    Parameters
    ----------
    generator : object
        Fitted on `X_train`, with a method ``sample(n, y=label)`` that gives n rows of that label, alone or with their
        labels. Where it takes ``random_state``, it is given one.
    X_test, y_test : DataFrame, array or tensor, and labels
        Real rows that the generator has not seen, in the format of `X_train`: a table, or images.
    X_train, y_train
        The rows that the generator was trained on.
    features : {"classifier", "random", "inception", "dinov2"}, callable or torch.nn.Module, default="classifier"
        Of images, between which distances are taken. "classifier": a small CNN trained on the training images, cross-fitted
        so that it never sees those it compares. "random": a fixed CNN with random weights. "inception" and "dinov2":
        pretrained ones, whose weights must lie on this machine already; nothing is downloaded. A callable or module maps
        float32 images (n, C, H, W) from 0 to 1 to (n, d).
    max_rows : int, default=10_000
        Synthetic rows drawn, at most: as many of each class as there are training rows, thinned alike where that is more.
        Large images are thinned further, to 2**27 values, and of `X_test` at most twice as many rows are used. Of those, at
        most 5,000 table rows or 3,000 images a side are compared; distances are taken to at most 50,000 training rows.
    device : str or torch.device, default="auto"
        For the networks that images need.
    random_state : None, int, RandomState or Generator
    verbose : int, default=0
        Above 0 a progress bar is shown.

    Returns
    -------
    GenerationResult
        ``verdict`` in words, ``frame()`` in figures.

    Raises
    ------
    InvalidDataError
        The parts do not fit together; most of `X_test` was trained on; `generator` gave something else than asked for.
    InvalidTypeError
        `generator` cannot sample.
    InvalidParameterError
        `features`, `max_rows` or `device` cannot be used.
    sklearn.exceptions.NotFittedError
        The generator was not fitted.

    Warns
    -----
    EvaluationWarning
        Some test rows are training rows, or a class has no test rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.evaluation import evaluate
    >>> X, X_test, y, y_test = train_test_split(*load_iris(return_X_y=True), stratify=load_iris().target, random_state=0)
    >>> gen = ConditionalVAE(max_steps=20, random_state=0, device="cpu").fit(X, y)
    >>> result = evaluate(gen, X_test, y_test, X_train=X, y_train=y, random_state=0)
    >>> result.frame()[["group", "class", "metric", "value", "floor", "ceiling", "n"]].shape[1]
    7
    """
    start = time.perf_counter()
    rng = numpy_generator(random_state)
    streams = [np.random.default_rng(draw_seed(rng)) for _ in range(4)]  # a figure keeps its value when others are added
    if not (isinstance(features, str) or callable(features)):
        raise InvalidParameterError(f"features must be a name, a callable or an nn.Module; got {features!r}.")
    with tqdm(desc="drawing", disable=not verbose, bar_format="{desc} {n} done [{elapsed}]") as bar:

        def step(name):
            bar.set_description_str(name)
            bar.update()

        parts = read_parts(generator, X_test, y_test, X_train, y_train, max_rows, streams[0])
        if parts.modality == "table":
            if features != "classifier":
                raise InvalidParameterError("features is for images; X_train is a table. Leave it out.")
            found = table_fidelity(parts, streams[1], step)
            vectors = lambda name, rows: _table_vectors(parts, name, rows)
            mapped = {name: vectors(name, np.arange(len(getattr(parts, name)))) for name in ("test", "synthetic")}
        else:
            found = image_fidelity(parts, features, device, streams[1], step)
            vectors, mapped = lambda name, rows: pixel_vectors(getattr(parts, name)[rows]), found.features
        copies = copy_figures(parts, vectors, streams[2], step)
        step("done")
    figures = (*found.figures, *copies.figures)
    return GenerationResult(
        modality=parts.modality,
        labels=parts.labels,
        judgement=judge(figures),
        X_synthetic=parts.X_synthetic,
        y_synthetic=parts.y_synthetic,
        gallery=copies.gallery,
        columns=found.columns,
        pairs=found.pairs,
        map=_map(parts, mapped["test"], mapped["synthetic"], streams[3]),
        features="" if parts.modality == "table" else found.name,
        n_train=len(parts.train_class),
        n_test=len(parts.test_class),
        seconds=time.perf_counter() - start,
        figures=figures,
    )


def _table_vectors(parts, name, rows):
    return parts.reader.vectors(parts.reader.codes(getattr(parts, name).iloc[rows]))


def _map(parts, test, synthetic, rng):
    """Principal components of the held-out rows, and the synthetic rows on them."""
    chosen = [np.sort(rng.permutation(len(rows))[:MAP_ROWS]) for rows in (test, synthetic)]
    real, drawn = test[chosen[0]], synthetic[chosen[1]]
    n_components = min(2, *real.shape)
    if n_components == 0:
        return pd.DataFrame(columns=["x", "y", "kind", "class"])
    pca = PCA(n_components, svd_solver="full").fit(real)
    points = np.concatenate([pca.transform(real), pca.transform(drawn)])
    points = np.hstack([points, np.zeros((len(points), 2 - n_components))])
    index = np.concatenate([parts.test_class[chosen[0]], parts.synthetic_class[chosen[1]]])
    kind = np.repeat(["real", "synthetic"], [len(real), len(drawn)])
    labels = pd.Series(parts.labels, dtype=object)[index].to_numpy()
    return pd.DataFrame({"x": points[:, 0], "y": points[:, 1], "kind": kind, "class": labels})
