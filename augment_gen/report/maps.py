"""Plots of rows themselves: the shape of a column, and maps of real and synthetic rows."""

import numpy as np
import pandas as pd

from augment_gen.report.style import COLOURS, Plot, canvas, drawn, shortened

MAX_LEVELS = 8  # of a text column that get bars
MAX_PANELS = 4  # of a map: all classes, and the rarest
N_BINS = 24


@drawn
def column_plot(name, real, synthetic, place):
    """The shape of a column among training and synthetic rows.

    Parameters
    ----------
    name : str
    real, synthetic : Series
        The cells.
    place : int
        Makes the file's name.
    """
    parts = [_plain(real), _plain(synthetic)]
    title = shortened(name, 44)
    if all(pd.api.types.is_numeric_dtype(part) for part in parts):
        figure = _shape_of_numbers(*parts, title)
    else:
        figure = _shape_of_words(*(part.astype(str) for part in parts), title)
    return Plot(
        f"column-{place}", figure, "", f"How often the values of {title} occur among training and among synthetic rows."
    )


def _plain(cells):
    """Present cells: numbers, moments and durations as floats, everything else as it is."""
    cells = pd.Series(cells).dropna().reset_index(drop=True)
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(cells.dtype.categories.dtype)
    if pd.api.types.is_datetime64_any_dtype(cells) or pd.api.types.is_timedelta64_dtype(cells):
        unit = pd.Timedelta(days=1)
        if pd.api.types.is_datetime64_any_dtype(cells):
            utc = pd.to_datetime(cells, utc=True)
            return 1970 + (utc - pd.Timestamp(0, tz="UTC")) / (365.2425 * unit)
        return cells / unit
    if pd.api.types.is_bool_dtype(cells):
        return cells.astype(str)
    return cells.astype(float) if pd.api.types.is_numeric_dtype(cells) else cells


def _shape_of_numbers(real, synthetic, title):
    figure, axes = canvas(2.3)
    both = np.concatenate([real.to_numpy(float), synthetic.to_numpy(float)])
    both = both[np.isfinite(both)]
    low, high = np.quantile(both, [0.005, 0.995]) if len(both) else (0.0, 1.0)
    distinct = np.unique(both)
    if len(distinct) <= N_BINS and len(distinct) > 1:  # a bin a value
        middle = (distinct[1:] + distinct[:-1]) / 2
        edges = np.concatenate([[2 * distinct[0] - middle[0]], middle, [2 * distinct[-1] - middle[-1]]])
    else:
        edges = np.linspace(low, high if high > low else low + 1, N_BINS + 1)
    for cells, colour, style, label in (
        (real, COLOURS["real"], "-", "training rows"),
        (synthetic, COLOURS["synthetic"], "--", "synthetic rows"),
    ):
        share = np.histogram(np.clip(cells.to_numpy(float), edges[0], edges[-1]), edges)[0] / max(1, len(cells))
        axes.stairs(share, edges, color=colour, linewidth=1.8, linestyle=style, label=label, baseline=None)
        if style == "-":
            axes.stairs(share, edges, color=colour, alpha=0.15, fill=True)
    axes.set_title(title)
    axes.set_ylabel("share")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", nbins=5)
    axes.legend(loc="best", handlelength=2.4)
    return figure


def _shape_of_words(real, synthetic, title):
    shares = pd.DataFrame({"real": real.value_counts(normalize=True), "synthetic": synthetic.value_counts(normalize=True)})
    shares = shares.fillna(0)
    shares = shares.loc[shares.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    if len(shares) > MAX_LEVELS:
        rest = shares.iloc[MAX_LEVELS - 1 :]
        shares = pd.concat([shares.iloc[: MAX_LEVELS - 1], rest.sum().to_frame(f"{len(rest)} other values").T])
    figure, axes = canvas(0.9 + 0.4 * max(1, len(shares)))
    y = np.arange(len(shares))[::-1]
    axes.barh(y + 0.19, shares["real"], 0.34, color=COLOURS["real"], label="training rows")
    axes.barh(
        y - 0.19, shares["synthetic"], 0.34, facecolor="none", edgecolor=COLOURS["synthetic"], linewidth=1.5, hatch="////",
        label="synthetic rows",
    )  # fmt: skip
    axes.set_yticks(y, [shortened(level, 22) for level in shares.index])
    axes.set_title(title)
    axes.set_xlabel("share of the cells that are there")
    axes.legend(loc="lower right")
    axes.locator_params(axis="x", nbins=5)
    return figure


@drawn
def map_plot(points, name, what, labels):
    """Real and synthetic rows in two dimensions: all classes, and the rarest ones by themselves.

    Parameters
    ----------
    points : DataFrame
        "x", "y", "kind" ("real" or "synthetic"), "class".
    name : str
        Of the file.
    what : str
        What the two dimensions are of.
    labels : list
        The classes, the rarest first.
    """
    rare = labels[: MAX_PANELS - 1] if len(labels) > 1 else []
    n_panels = 1 + len(rare)
    rows = -(-n_panels // 2) if n_panels > 1 else 1
    figure, axes = canvas(0.75 + 2.3 * rows, 2 if n_panels > 1 else 1, rows, squeeze=False, sharex=True, sharey=True)
    for panel, label in zip(axes.ravel(), [None, *rare], strict=False):
        chosen = points if label is None else points[points["class"].map(lambda one, label=label: one == label)]
        for kind, marker, size in (("real", "o", 14), ("synthetic", "x", 13)):
            mine = chosen[chosen["kind"] == kind]
            style = {"facecolors": "none"} if marker == "o" else {}
            colour = {"edgecolors": COLOURS["real"]} if marker == "o" else {"color": COLOURS["synthetic"]}
            panel.scatter(mine["x"], mine["y"], size, marker=marker, linewidths=0.8, label=kind, **style, **colour)
        panel.set_title("all classes" if label is None else f"class {shortened(label, 18)}")
        panel.set(xticks=[], yticks=[])
    for panel in axes.ravel()[n_panels:]:
        panel.set_visible(False)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    shown = points["kind"].value_counts()
    return Plot(
        name,
        figure,
        f"Map of {what}",
        f"{shown.get('real', 0)} real and {shown.get('synthetic', 0)} synthetic rows on the first two principal components of "
        f"{what}; where they lie on top of each other, they are alike as far as two dimensions show.",
        "Circles: real rows; crosses: synthetic ones. Two dimensions show little: rows that agree here may differ elsewhere.",
    )
