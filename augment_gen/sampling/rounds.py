"""Drawing in rounds: what a filter rejects is drawn again under the same label, until all rows are there or it gives up."""

import threading
import warnings
from collections import Counter

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from augment_gen.errors import InvalidRequestError, NoveltyWarning, ShortfallError, ShortfallWarning
from augment_gen.seeding import stage_generator

MAX_ROUNDS = 10  # draws of a rejected row before it is kept as it is, or all is refused
COPY_ROUNDS = 10  # further draws where the last one was a copy of a training row; only that is asked of them
SHORTFALL = ("warn", "raise")
OWN = "generator"  # the name under which the generator's own screening is counted


class Rounds:
    """One request: draws its rows, and counts what was rejected by which filter.

    Parameters
    ----------
    draw : callable (class_index int64 (m,), stage) -> m rows in the user's format
    screening : Screening
        The filters that the generator fitted itself.
    filters : list of (name, callable (X, y) -> bool (m,))
    codec : Codec
    conditions : ConditionEncoder
    on_shortfall : {"warn", "raise"}
    allow_copies : bool
        Whether exact copies of training rows may come out.
    """

    def __init__(self, draw, screening, filters, codec, conditions, on_shortfall, allow_copies=False):
        self.draw, self.screening, self.filters, self.codec = draw, screening, filters, codec
        self.conditions, self.on_shortfall, self.allow_copies = conditions, on_shortfall, allow_copies
        self.drawn, self.rejected, self.copies = Counter(), Counter(), Counter()

    def run(self, wanted, seed):
        """Rows of the classes `wanted`, int64 (n,), in that order."""
        pending, pieces, places = np.arange(len(wanted)), [], []
        short, copies = [], []  # rows that come out although they were rejected, or are copies
        for stage in range(MAX_ROUNDS + COPY_ROUNDS):
            drawn = self.draw(wanted[pending], stage)
            copied = self._copied(drawn, wanted[pending])
            keep = self._keep(drawn, copied, wanted[pending], stage_generator(seed, stage))
            if keep.all() and not pieces:
                return drawn
            if stage >= MAX_ROUNDS - 1:
                self._refuse_shortfall(wanted[pending[~keep]])
                short.append(pending[~keep & ~copied])
                keep = ~copied  # better close to a training row than a copy of one
            if stage == MAX_ROUNDS + COPY_ROUNDS - 1:
                copies, keep = pending[copied], np.ones(len(pending), dtype=bool)
            pieces.append(self.codec.take(drawn, np.flatnonzero(keep)))
            places.append(pending[keep])
            pending = pending[~keep]
            if not len(pending):
                break
        self._warn(wanted[np.concatenate([*short, []]).astype(int)], wanted[copies])
        return self.codec.take(self.codec.join(pieces), np.argsort(np.concatenate(places)))

    def report(self):
        """DataFrame: per label and filter, how many rows the filter looked at, which share of them it rejected, and how many of
        those are exact copies of training rows."""
        labels, order = self.conditions.classes_.tolist(), [OWN, *(name for name, _ in self.filters)]
        rows = [
            (labels[k], name, n, self.rejected[name, k] / n, self.copies[name, k])
            for (name, k), n in sorted(self.drawn.items(), key=lambda one: (one[0][1], order.index(one[0][0])))
        ]
        return pd.DataFrame(rows, columns=["label", "filter", "seen", "rejected_share", "copies"])

    def _copied(self, drawn, class_index):
        """bool (n,): drawn rows that are copies of training rows, where those may not come out."""
        if self.allow_copies:
            return np.zeros(len(class_index), dtype=bool)
        copied = self.screening.copied(drawn)
        for k, n in zip(*np.unique(class_index[copied], return_counts=True), strict=True):
            self.copies[OWN, k] += int(n)
        return copied

    def _keep(self, drawn, copied, class_index, rng):
        keep = self.screening.keep(drawn, class_index, rng) & ~copied
        self._count(OWN, class_index, keep)
        for name, accept in self.filters:
            rows = np.flatnonzero(keep)
            if not len(rows):
                break
            y = self.conditions.decode(class_index[rows])
            accepted = np.asarray(accept(self.codec.take(drawn, rows), y))
            if accepted.shape != rows.shape or accepted.dtype != bool:
                raise InvalidRequestError(
                    f"The filter {name} must return one bool a row: got shape {accepted.shape} and {accepted.dtype} for "
                    f"{len(rows)} rows."
                )
            self._count(name, class_index[rows], accepted)
            keep[rows] = accepted
        return keep

    def _count(self, name, class_index, keep):
        for k in np.unique(class_index):
            self.drawn[name, k] += int((class_index == k).sum())
            self.rejected[name, k] += int((~keep[class_index == k]).sum())

    def _refuse_shortfall(self, class_index):
        if len(class_index) and self.on_shortfall == "raise":
            raise ShortfallError(
                f"{len(class_index)} rows of {self._labels(class_index)} were rejected in all of {MAX_ROUNDS} draws, by "
                f"{self._blamed(class_index)}. Loosen that filter, or keep them with on_shortfall='warn'."
            )

    def _warn(self, short, copies):
        """Of rows that come out although they were rejected, and of copies; int64 arrays of their classes."""
        if len(short):
            message = (
                f"{len(short)} rows of {self._labels(short)} were still rejected after {MAX_ROUNDS} draws, by "
                f"{self._blamed(short)}, and were kept as they are. "
            )
            if self.filters:
                warnings.warn(message + "filter_report_ says what each filter rejected.", ShortfallWarning, stacklevel=6)
            else:
                why = "They are close to training rows, or unlike their label; latent_report_ shows how often that happens."
                warnings.warn(message + why + " Collect more rows of the class.", NoveltyWarning, stacklevel=6)
        if len(copies):
            warnings.warn(
                f"{len(copies)} rows of {self._labels(copies)} are exact copies of training rows, as in all of "
                f"{MAX_ROUNDS + COPY_ROUNDS} draws. Collect more rows of the class, or drop these rows.",
                NoveltyWarning,
                stacklevel=6,
            )

    def _labels(self, class_index):
        return ", ".join(map(repr, self.conditions.classes_[np.unique(class_index)].tolist()[:5]))

    def _blamed(self, class_index):
        """The filter that rejected most of these classes."""
        classes = set(np.unique(class_index))
        totals = Counter()
        for (name, k), n in self.rejected.items():
            totals[name] += n if k in classes else 0
        name = totals.most_common(1)[0][0]
        return "the generator's own filters" if name == OWN else name


class LatestReport:
    """What `Rounds.report` said last: in the thread that asks, or else in any. Copies of it are empty."""

    def __init__(self):
        self._mine, self._any = threading.local(), None

    def put(self, report):
        self._mine.report = self._any = report

    def get(self):
        """A DataFrame; AttributeError where nothing has been drawn."""
        report = getattr(self._mine, "report", self._any)
        if report is None:
            raise AttributeError("filter_report_ is there after sample or fit_resample; nothing has been drawn yet.")
        return report

    def __reduce__(self):
        return LatestReport, ()


def as_filters(filters, on_shortfall, X=None, y=None):
    """``[(name, callable (X, y) -> bool (n,))]`` of what a user passes: objects with ``keep``, and functions.

    With X and y, copies of filters that can be fitted are fitted to them.

    Raises
    ------
    InvalidRequestError
        Something else, or a filter that is not fitted.
    """
    if on_shortfall not in SHORTFALL:
        raise InvalidRequestError(f"on_shortfall must be one of {', '.join(map(repr, SHORTFALL))}; got {on_shortfall!r}.")
    filters = [] if filters is None else filters if isinstance(filters, (list, tuple)) else [filters]
    named = []
    for name, accept in (_named(one, X, y) for one in filters):
        alike = sum(other.split(" ")[0] == name for other, _ in named)
        named.append((f"{name} {alike + 1}" if alike else name, accept))
    return named


def _named(one, X, y):
    if hasattr(one, "keep") and not isinstance(one, type):
        name = type(one).__name__
        if X is not None and hasattr(one, "fit"):
            return name, clone(one).fit(X, y).keep
        try:
            check_is_fitted(one)
        except NotFittedError as error:
            message = f"The filter {name} is not fitted. Give {name}(...).fit(X, y), with the training data."
            raise InvalidRequestError(message) from error
        except TypeError:  # a user's own, without fit
            pass
        return name, one.keep
    if callable(one) and not isinstance(one, type):
        return getattr(one, "__name__", type(one).__name__), one
    raise InvalidRequestError(
        "filters must hold filters such as augment_gen.sampling.WithinSupport().fit(X, y), or functions (X, y) -> bool array; "
        f"got {one!r}."
    )
