"""Plots of growth and of the roofline: small PNGs."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SMALL = {"dpi": 90, "bbox_inches": "tight"}


def growth(found, axes, out):
    """One file per group: CPU time (wall time on a GPU) over size, both logarithmic, for fitting and for drawing."""
    for group, (axis, _) in axes.items():
        mine = found[found["group"] == group]
        if mine[axis].nunique() < 2:
            continue
        figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharex=True)
        for panel, names in zip(panels, (("fit", "rebalance"), ("sample",)), strict=True):
            for (competitor, epochs, phase), one in mine[mine["phase"].isin(names)].groupby(["competitor", "epochs", "phase"]):
                clock = "cpu_s" if (one["device"] == "cpu").all() else "wall_s"
                median = one.groupby(axis)[clock].median()
                label = competitor if epochs == "default" else f"{competitor}, {epochs} epochs"
                panel.loglog(
                    median.index, median, marker="o", markersize=3, label=label if phase != "rebalance" else f"{label} (all)"
                )
            panel.set(title=names[0], xlabel=group, ylabel="seconds")
            panel.legend(fontsize=7)
        figure.savefig(out / f"growth_{group}.png", **SMALL)
        plt.close(figure)


def roofline(ceilings, networks, out):
    """FLOP/s over FLOPs per byte moved, under the two ceilings of each precision."""
    figure, panel = plt.subplots(figsize=(6, 3.5))
    for name, style in (("float32", "-"), ("bfloat16", "--")):
        peak, copy = ceilings["matmul"][name], ceilings["copy"]
        panel.loglog([0.1, peak / copy, 1000], [0.1 * copy, peak, peak], style, color="grey", label=f"ceiling, {name}")
    for one in networks:
        label = f"{one['network']}: {one['stage']}"
        panel.loglog(one["mflop"] / one["mb_moved"] * 1e6 / 2**20, one["flop_per_s"], "o", markersize=4, label=label)
    panel.set(xlabel="FLOP per byte moved by operations", ylabel="FLOP/s")
    panel.legend(fontsize=5, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(out / "roofline.png", **SMALL)
    plt.close(figure)
