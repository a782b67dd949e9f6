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
    """

    def __init__(self, draw, screening, filters, codec, conditions, on_shortfall):
        self.draw, self.screening, self.filters, self.codec = draw, screening, filters, codec
        self.conditions, self.on_shortfall = conditions, on_shortfall
        self.drawn, self.rejected, self.left = Counter(), Counter(), Counter()

    def run(self, wanted, seed):
        """Rows of the classes `wanted`, int64 (n,), in that order."""
        pending, pieces, places = np.arange(len(wanted)), [], []
        for stage in range(MAX_ROUNDS):
            drawn = self.draw(wanted[pending], stage)
            keep = self._keep(drawn, wanted[pending], stage_generator(seed, stage))
            if keep.all() and not pieces:
                return drawn
            if stage == MAX_ROUNDS - 1 and not keep.all():
                self._fall_short(wanted[pending[~keep]])
                keep[:] = True
            pieces.append(self.codec.take(drawn, np.flatnonzero(keep)))
            places.append(pending[keep])
            pending = pending[~keep]
            if not len(pending):
                break
        return self.codec.take(self.codec.join(pieces), np.argsort(np.concatenate(places)))

    def report(self):
        """DataFrame: per label and filter, how many rows the filter looked at, and which share of them it rejected."""
        labels, order = self.conditions.classes_.tolist(), [OWN, *(name for name, _ in self.filters)]
        rows = [
            {"label": labels[k], "filter": name, "seen": n, "rejected_share": self.rejected[name, k] / n}
            for (name, k), n in sorted(self.drawn.items(), key=lambda one: (one[0][1], order.index(one[0][0])))
        ]
        return pd.DataFrame(rows, columns=["label", "filter", "seen", "rejected_share"])

    def _keep(self, drawn, class_index, rng):
        keep = self.screening.keep(drawn, class_index, rng)
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

    def _fall_short(self, class_index):
        names = self.conditions.classes_[np.unique(class_index)].tolist()
        labels = ", ".join(map(repr, names[:5]))
        if self.on_shortfall == "raise":
            raise ShortfallError(
                f"{len(class_index)} rows of {labels} were rejected in all of {MAX_ROUNDS} draws, by "
                f"{self._blamed(class_index)}. Loosen that filter, or keep them with on_shortfall='warn'."
            )
        message = (
            f"{len(class_index)} rows of {labels} were still rejected after {MAX_ROUNDS} draws, by "
            f"{self._blamed(class_index)}, and were kept as they are. "
        )
        if self.filters:
            warnings.warn(message + "filter_report_ says what each filter rejected.", ShortfallWarning, stacklevel=6)
        else:
            message += "They are close to training rows, or unlike their label; latent_report_ shows how often that happens."
            warnings.warn(message + " Collect more rows of the class.", NoveltyWarning, stacklevel=6)

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
