"""The model card: what the rows come from, what they may be used for, and where that ends."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from inspect import signature

import numpy as np
import pandas as pd

from augment_gen import __version__
from augment_gen.fingerprints import data_fingerprint

LIBRARIES = ("numpy", "pandas", "scikit-learn", "imbalanced-learn", "torch")
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MAX_COUNTED = 30  # classes whose rows are listed
UNSTATED = "Not stated by whoever made this report."
LIMITS = (
    "Figures hold for this data, these splits and this seed; other data can turn out otherwise.",
    "A generator repeats what is in its training rows: their errors, their gaps and their biases.",
    "No test here proves privacy. Rows that pass all of them can still give training rows away (arXiv:2505.01524).",
    "Synthetic rows are for training. Test and report on real rows.",
)


def context(findings):
    """A line on what was looked at."""
    generation, comparison = findings.generation, findings.comparison
    parts = [] if findings.generator is None else [type(findings.generator).__name__]
    if generation is not None:
        what = "images" if generation.modality == "image" else "rows"
        parts.append(f"trained on {generation.n_train:,} {what} of {len(generation.labels)} classes")
        parts.append(f"judged on {generation.n_test:,} others")
    if comparison is not None:
        n_rows = comparison.n_train + comparison.n_test
        parts.append(f"compared on {comparison.n_splits} splits of {n_rows:,}")
    text = " · ".join(parts)
    return text[:1].upper() + text[1:]


def card_rows(findings, intended_use):
    """``[(name, value)]`` of the model card, both str."""
    generator, generation, comparison = findings.generator, findings.generation, findings.comparison
    rows = [("Intended use", intended_use or UNSTATED)]
    if generator is not None:
        rows += [("Generator", type(generator).__name__), ("Settings", _settings(generator))]
        seed = getattr(generator, "random_state", None)
        rows.append(("Seed", "none was set" if seed is None else seed if isinstance(seed, (int, np.integer)) else "a stream"))
    if generation is not None:
        rows.append(("Training rows", f"{generation.n_train:,}"))
        rows.append(("Held-out rows", f"{generation.n_test:,}"))
        rows.append(("Synthetic rows that were looked at", f"{len(generation.y_synthetic):,}"))
        if generation.features:
            rows.append(("Image features", generation.features))
        rows.append(("Time of the evaluation", f"{generation.seconds:.0f} s"))
    if findings.y_train is not None:
        rows.append(("Training rows by class", _counts(findings.y_train)))
        rows.append(("Fingerprint of X_train (SHA-256)", data_fingerprint(findings.X_train)))
        rows.append(("Fingerprint of y_train (SHA-256)", data_fingerprint(findings.y_train)))
    if comparison is not None:
        splits = f"{comparison.n_splits} of {comparison.n_train:,} training and {comparison.n_test:,} test rows"
        rows.append(("Splits of the comparison", splits))
    rows.append(("Made with", _versions()))
    rows.append(("Made on", f"{datetime.now(UTC):%Y-%m-%d}"))
    return [(name, str(value)) for name, value in rows]


def _settings(generator):
    """The parameters that are not as they are by default."""
    if not hasattr(generator, "get_params"):
        return "not known"
    defaults = {name: parameter.default for name, parameter in signature(type(generator).__init__).parameters.items()}
    given = {name: value for name, value in generator.get_params(deep=False).items() if repr(value) != repr(defaults.get(name))}
    given = {name: value for name, value in given.items() if name != "random_state"}
    return ", ".join(f"{name}={value!r}" for name, value in given.items()) or "all by default"


def _counts(y):
    counts = pd.Series(np.asarray(y, dtype=object)).value_counts(dropna=False)
    listed = ", ".join(f"{label}: {n:,}" for label, n in counts.iloc[::-1].head(MAX_COUNTED).items())
    left = len(counts) - MAX_COUNTED
    return f"{listed} and {left} classes with more" if left > 0 else listed


def _versions():
    found = [f"augment-gen {__version__}", f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # installed in another way
            continue
    return ", ".join(found)
