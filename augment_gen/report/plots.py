"""The plots on figures: results of `evaluate` and `compare`, and training curves, in; `Plot` objects out."""

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from augment_gen.evaluation.classifier_scores import SCORES
from augment_gen.report.style import COLOURS, GRADE_MARKERS, PATCH, Plot, canvas, drawn, number, shortened
from augment_gen.report.words import NAMES, arm_line, arm_name, judged_figures, shown_arms

MAX_CURVES = 6
MAX_MATRIX = 10  # classes up to which a confusion matrix is drawn; beyond, the recalls that changed most
MAX_BARS = 14  # of classes whose recall changed
MAX_ARMS = 16  # of a comparison
LEAST_RANGE = 0.02  # of scores on an axis


@drawn
def comparison_plot(comparison):
    """Every arm's score, and for how sure its difference to the best arm without a generator is."""
    arms = shown_arms(comparison)
    reference, level, n_arms = arms.attrs["reference"], arms.attrs["level"], len(arms)
    arms[["low", "high"]] = arms[["low", "high"]].clip(0, 1 if SCORES[comparison.scoring].better > 0 else None)
    arms = arms[arms.index.isin([*arms.index[:MAX_ARMS], reference])]
    figure, axes = canvas(0.95 + 0.44 * len(arms))
    for row, arm in enumerate(arms.itertuples()):
        ours = arm.kind == "augmenter"
        colour = COLOURS["synthetic"] if ours else COLOURS["muted"]
        y = len(arms) - row
        if arm.low == arm.low:
            axes.plot([arm.low, arm.high], [y, y], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot(arm.score, y, marker="o" if ours else "s", markersize=8, color=colour, linestyle="none")
        text = f"{shortened(arm_name(arm.Index), 40)}  {number(arm.score)}"
        text += "  (best without)" if arm.Index == reference else ""
        axes.annotate(
            text, (0, y), (0, 6), xycoords=("axes fraction", "data"), bbox=PATCH, textcoords="offset points", va="bottom",
            fontweight="bold" if ours else "normal", color=COLOURS["ink"],
        )  # fmt: skip
    axes.axvline(arms.loc[reference, "score"], color=COLOURS["ink"], linewidth=1.2, linestyle=(0, (4, 3)), zorder=0)
    axes.set(ylim=(0.5, len(arms) + 0.85), xlabel=f"{NAMES.get(comparison.scoring, comparison.scoring)} on held-out real rows")
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.locator_params(axis="x", nbins=6)
    lines = "; ".join(arm_line(arm) for arm in arms.itertuples())
    return Plot(
        "comparison",
        figure,
        "How well a classifier does, by what it learned from",
        f"Scores of all arms, best first. {lines}. The dashed line is {arm_name(reference)}, the best arm without a generator.",
        f"Circles: with synthetic rows; squares: without. Bars: {100 * level:.3g} % interval of the difference to the dashed "
        f"line ({shortened(arm_name(reference))}, the best arm without a generator). A bar that crosses it: no sure difference."
        + (f" {n_arms - len(arms)} more arms are in the table below." if len(arms) < n_arms else ""),
    )


@drawn
def quality_plot(generation):
    """Where every judged figure lies between worthless rows and real ones."""
    frame = judged_figures(generation)
    figure, axes = canvas(1.0 + 0.44 * max(1, len(frame)))
    for row, line in enumerate(frame.itertuples()):
        y, share = len(frame) - row, line.score
        axes.plot([0, 1], [y, y], color=COLOURS["grid"], linewidth=2.4, zorder=0)
        axes.plot(share, y, marker=GRADE_MARKERS[line.grade], markersize=9, color=COLOURS[line.grade], linestyle="none")
        axes.annotate(
            f"{NAMES.get(line.metric, line.metric)}: {line.grade}", (0, y), (0, 6), textcoords="offset points", va="bottom"
        )
    if frame.empty:
        axes.text(0.5, 1, "too few rows to judge anything", ha="center", va="center")
    axes.set(xlim=(-0.04, 1.04), ylim=(0.5, max(1, len(frame)) + 0.85), xticks=[0, 0.5, 1])
    axes.set_xticklabels(["worthless rows", "half way", "real rows"])
    for tick, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=True):
        tick.set_horizontalalignment(side)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    said = "; ".join(f"{NAMES.get(line.metric, line.metric)} {line.score:.0%}, {line.grade}" for line in frame.itertuples())
    return Plot(
        "quality",
        figure,
        "From worthless rows to real ones",
        f"How far each figure is on the way from worthless rows (0 %) to real rows (100 %): {said}.",
        "Circle: good; diamond: fair; cross: poor. Both ends were computed on this data, not assumed.",
    )


@drawn
def sweep_plot(comparison, arms):
    """The score by amount of synthetic rows; None where a single amount was tried."""
    sweep = comparison.sweep().reset_index()
    sweep = sweep[sweep["arm"].isin(arms) & sweep["amount"].notna()]
    if sweep["amount"].nunique() < 2:
        return None
    column = next(name for name in ("default", "any", "tuned") if name in sweep and sweep[name].notna().any())
    figure, axes = canvas(2.7)
    shades = [COLOURS["synthetic"], COLOURS["real"], COLOURS["good"], COLOURS["fair"], COLOURS["muted"]]
    for place, (arm, rows) in enumerate(sweep.groupby("arm", sort=False)):
        style = {"color": shades[place % 5], "marker": "osD^vX"[place % 6], "linestyle": ["-", "--", ":", "-."][place % 4]}
        rows = rows.sort_values("amount")
        axes.plot(rows["amount"], rows[column], label=shortened(arm, 40), **style)
    axes.set(xlabel="share of the rows that would balance the classes", xticks=sorted(sweep["amount"].unique()))
    axes.set_ylabel(NAMES.get(comparison.scoring, comparison.scoring))
    axes.grid(axis="y")
    low, high = axes.get_ylim()
    if high - low < LEAST_RANGE:  # differences of no account should look like it
        axes.set_ylim((low + high - LEAST_RANGE) / 2, (low + high + LEAST_RANGE) / 2)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.24), ncols=1, borderaxespad=0)
    figure.set_figheight(2.7 + 0.22 * sweep["arm"].nunique())
    best = sweep.loc[sweep[column].idxmax()]
    return Plot(
        "amounts",
        figure,
        "Score by amount of synthetic rows",
        f"Score by amount of synthetic rows; highest {number(best[column])} for {best['arm']} at {best['amount']:g}.",
        f"At the {'default' if column == 'default' else column} threshold, mean over splits."
        if column != "any"
        else "Mean over splits.",
    )


@drawn
def confusion_plot(before, after, names):
    """Confusion matrices without and with synthetic rows; for many classes the recalls that changed most."""
    if len(before) > MAX_MATRIX:
        return _recalls_plot(before, after, names)
    n = len(before)
    stacked = n > 4
    figure, axes = canvas(4.6 * 2 if stacked else 2.9, 1 if stacked else 2, 2 if stacked else 1, squeeze=False)
    shares = []
    for panel, counts, title in zip(axes.ravel(), (before, after), names, strict=True):
        share = counts.to_numpy() / np.maximum(1, counts.to_numpy().sum(axis=1, keepdims=True))
        shares.append(np.diag(share))
        panel.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal", xlabel="predicted")
        for i in range(n):
            for j in range(n):
                # a square's size says the share: it reads alike in light and dark, and without colour
                side = 0.92 * np.sqrt(share[i, j])
                colour = COLOURS["real"] if i == j else COLOURS["synthetic"]
                panel.add_patch(_square(j - side / 2, i - side / 2, side, colour))
                if n <= 6:
                    panel.text(j, i, f"{share[i, j]:.0%}", ha="center", va="center", fontsize=10)
        labels = [shortened(label, 9 if n <= 4 else 12) for label in counts.index]
        panel.set_xticks(range(n), labels, rotation=0 if n <= 2 else 90)
        panel.set_yticks(range(n), labels)
        panel.set_title(shortened(title, 18 if n <= 4 else 44))
        panel.tick_params(length=0)
        for spine in panel.spines.values():
            spine.set_visible(False)
    axes.ravel()[0].set_ylabel("actual")
    said = ", ".join(f"{label} {a:.0%} and {b:.0%}" for label, a, b in zip(before.index, *shares, strict=True))
    return Plot(
        "confusion",
        figure,
        "What is taken for what",
        f"Shares of each class that were recognised, {names[0]} and {names[1]}: {said}.",
        "Each row adds up to 100 %. Area and figure: share of the actual class; the diagonal is what was recognised.",
    )


def _square(x, y, side, colour):
    return Rectangle((x, y), side, side, color=colour, alpha=0.35, linewidth=0)


def _recalls_plot(before, after, names):
    recalls = [np.diag(counts) / np.maximum(1, counts.to_numpy().sum(axis=1)) for counts in (before, after)]
    table = pd.DataFrame({"before": recalls[0], "after": recalls[1]})
    table["label"] = list(before.index)
    table["gap"] = (table["after"] - table["before"]).abs()
    shown = table.sort_values("gap", ascending=False, kind="stable").head(MAX_BARS).reset_index(drop=True)
    figure, axes = canvas(1.0 + 0.38 * len(shown))
    for row, line in shown.iterrows():
        y = len(shown) - row
        axes.plot([line["before"], line["after"]], [y, y], color=COLOURS["muted"], linewidth=1.5, zorder=0)
        axes.plot(line["before"], y, "s", color=COLOURS["muted"], markersize=7, label=shortened(names[0]) if not row else None)
        axes.plot(
            line["after"], y, "o", color=COLOURS["synthetic"], markersize=7, label=shortened(names[1]) if not row else None
        )
    axes.set_yticks(range(len(shown), 0, -1), [shortened(label, 18) for label in shown["label"]])
    axes.set(xlim=(-0.03, 1.03), xlabel="recall on held-out rows")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    mean = [recall.mean() for recall in recalls]
    return Plot(
        "confusion",
        figure,
        "Recall without and with synthetic rows",
        f"Recall of the {len(shown)} classes that changed most; over all {len(table)} classes {mean[0]:.0%} and {mean[1]:.0%}.",
        f"The {len(shown)} of {len(table)} classes whose recall changed most.",
    )


@drawn
def curves_plot(history):
    """A panel per training curve."""
    names = [name for name in history if name not in ("step", "learning_rate") and history[name].notna().any()][:MAX_CURVES]
    if "step" not in history or not names or len(history) < 2:
        return None
    rows = -(-len(names) // 2)
    figure, axes = canvas(0.4 + 1.55 * rows, 2, rows, squeeze=False, sharex=True)
    for panel, name in zip(axes.ravel(), names, strict=False):
        panel.plot(
            history["step"], history[name], color=COLOURS["real"], marker="o" if len(history) < 9 else None, markersize=4
        )
        panel.set_title(name.replace("_", " "))
        panel.locator_params(nbins=3)
    for panel in axes.ravel()[len(names) :]:
        panel.set_visible(False)
    for panel in axes[-1]:
        panel.set_xlabel("step")
    last = "; ".join(f"{name} from {number(history[name].iloc[0])} to {number(history[name].iloc[-1])}" for name in names)
    return Plot("training", figure, "Training curves", f"Training curves over {history['step'].iloc[-1]} steps: {last}.")


@drawn
def pairs_plot(pairs):
    """The association of every pair of columns among synthetic rows against that among real ones."""
    pairs = pairs.dropna(subset=["real"]).fillna({"synthetic": 0, "train": 0})
    figure, axes = canvas(3.9)
    low, high = min(-0.05, pairs[["real", "synthetic"]].min().min()), max(1, pairs[["real", "synthetic"]].max().max())
    axes.plot([low, high], [low, high], color=COLOURS["muted"], linewidth=1, linestyle="--")
    axes.plot(
        pairs["real"], pairs["train"], "s", color=COLOURS["real"], markersize=3.5, alpha=0.35, mew=0, label="training rows"
    )
    axes.plot(
        pairs["real"], pairs["synthetic"], "o", color=COLOURS["synthetic"], markersize=4.5, mew=0, alpha=0.7,
        label="synthetic rows",
    )  # fmt: skip
    axes.set(xlabel="association among held-out real rows", ylabel="among synthetic or training rows", aspect="equal")
    axes.legend(loc="upper left")
    gap = (pairs["synthetic"] - pairs["real"]).abs()
    return Plot(
        "pairs",
        figure,
        "How pairs of columns go together",
        f"Association of {len(pairs)} pairs of columns: among synthetic rows it differs by {number(gap.mean())} on average, by "
        f"{number(gap.max())} at most.",
        "A point is a pair of columns; on the dashed line the association is as among real rows. The squares are training "
        "rows: how far from the line real rows stray by chance.",
    )
