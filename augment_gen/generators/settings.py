"""A recipe's settings, with what the user has set in their place."""

import math
from dataclasses import fields, replace


def with_given(settings, estimator, n_rows):
    """`settings` with every field that the estimator has as a parameter and that is not "auto" there.

    Parameters
    ----------
    settings : dataclass
        With ``n_steps`` and ``batch_size`` among its fields; ``n_steps`` follows the parameters ``max_steps`` and
        ``max_epochs``, whichever gives fewer.
    estimator : BaseGenerator
    n_rows : int
        Rows of an epoch.
    """
    given = {
        field.name: getattr(estimator, field.name)
        for field in fields(settings)
        if hasattr(estimator, field.name) and not _is_auto(getattr(estimator, field.name))
    }
    settings = replace(settings, **given)
    limits = [settings.n_steps if _is_auto(estimator.max_steps) else estimator.max_steps]
    if estimator.max_epochs is not None:
        by_epochs = estimator.max_epochs * math.ceil(n_rows / settings.batch_size)
        limits = [by_epochs] if _is_auto(estimator.max_steps) else [*limits, by_epochs]
    return replace(settings, n_steps=min(limits))


def _is_auto(value):
    return isinstance(value, str) and value == "auto"
