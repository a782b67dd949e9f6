"""From the lines of the record to tables: medians with their spread, exponents of growth, the roofline.

Enters: lines of a `Record`. Leaves: ``results.md`` and plots in a folder.
"""

import numpy as np
import pandas as pd
import plots

GROWTH = {  # of each group: the axis, what the data are measured by, and the size from which the exponent is fitted
    "rows": ("rows", 10_000),
    "columns": ("columns", 0),
    "classes": ("classes", 0),
    "images": ("rows", 0),
    "pixels": ("pixels", 0),
}


def write(lines, described, out):
    """Write ``results.md`` and the plots; returns the text."""
    found = phases(lines)
    parts = ["# Speed", machine_text(described)]
    if len(found):
        parts += ["## Times and memory", markdown(times(found))]
        exponents = growth(found)
        if len(exponents):
            parts += ["## Growth: time or memory as a power of size", markdown(exponents)]
        plots.growth(found, GROWTH, out)
    if (worth := quality(lines)) is not None:
        parts += ["## Adult: quality of what was drawn", markdown(worth)]
    for line in lines:
        if line["key"]["group"] == "roofline" and line["phases"]:
            ceilings, *networks = line["phases"]
            parts += ["## Roofline", ceilings_text(ceilings["ceilings"]), markdown(roofline(networks))]
            plots.roofline(ceilings["ceilings"], networks, out)
    failed = [f"- {line['name']}, {line['key'].get('competitor', '')}: {line['error']}" for line in lines if line["error"]]
    parts += ["## Not measured", "\n".join(dict.fromkeys(failed))] if failed else []
    text = "\n\n".join(parts) + "\n"
    (out / "results.md").write_text(text)
    return text


def phases(lines):
    """DataFrame: one row per phase of every measurement."""
    rows = []
    for line in lines:
        key = line["key"]
        if key["group"] == "roofline":
            continue
        workload = key["workload"]
        common = {
            "group": key["group"], "data": line["name"], "competitor": key["competitor"], "epochs": key["epochs"] or "default",
            "device": key["device"], "threads": key.get("threads", 1), "busy": line["busy"],
            "pixels": workload["side"] ** 2, **workload,
        }  # fmt: skip
        rows += [{**common, **phase} for phase in line["phases"]]
    return pd.DataFrame(rows)


def times(found):
    """Per workload, competitor and phase: medians over repeats, and from the lowest to the highest wall time."""
    groups = found.groupby(["group", "data", "competitor", "epochs", "device", "threads", "phase", "n_rows"], sort=False)
    table = groups.agg(
        runs=("wall_s", "size"), wall_s=("wall_s", "median"), lowest=("wall_s", "min"), highest=("wall_s", "max"),
        cpu_s=("cpu_s", "median"), peak_mb=("peak_mb", "median"),
    ).reset_index()  # fmt: skip
    return table.rename(columns={"n_rows": "rows of the phase"})


def growth(found):
    """Slopes of log CPU time (wall time on a GPU) and of log memory over log size, fitted by least squares."""
    rows = []
    for (group, competitor, epochs, device, threads, phase), one in found.groupby(
        ["group", "competitor", "epochs", "device", "threads", "phase"], sort=False
    ):
        if group not in GROWTH:
            continue
        axis, smallest = GROWTH[group]
        one = one[one[axis] >= smallest].groupby(axis)[["wall_s", "cpu_s", "peak_mb"]].median()
        if len(one) < 2:
            continue
        time = one["cpu_s" if device == "cpu" else "wall_s"]
        rows.append(
            {
                "competitor": competitor, "epochs": epochs, "threads": threads, "phase": phase, "axis": f"{group}",
                "from": one.index[0], "to": one.index[-1], "sizes": len(one),
                "time exponent": _slope(one.index, time), "memory exponent": _slope(one.index, one["peak_mb"]),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _slope(sizes, values):
    return round(float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-4)), 1)[0]), 2)


def quality(lines):
    """Per competitor: mean and range of C2ST and TSTR, where Adult was measured."""
    rows = [{"competitor": line["key"]["competitor"], **line["quality"]} for line in lines if "quality" in line]
    if not rows:
        return None
    groups = pd.DataFrame(rows).groupby("competitor", sort=False)
    table = groups.agg(runs=("c2st", "size"), c2st=("c2st", "mean"), tstr=("tstr", "mean"))
    spread = groups.agg(lambda values: f"{values.min():.4f} to {values.max():.4f}").add_suffix(" range")
    return table.join(spread).reset_index()


def roofline(networks):
    """One line per network and stage."""
    columns = ["network", "stage", "batch_size", "step_ms", "step_wall_ms", "mflop", "mb_moved"]
    table = pd.DataFrame(networks)
    table["GFLOP/s"], table["GB/s"] = table["flop_per_s"] / 1e9, table["bytes_per_s"] / 1e9
    shares = ["share_of_matmul", "share_of_convolution", "share_of_copy"]
    return table[[*columns, "GFLOP/s", "GB/s", *shares]]


def ceilings_text(ceilings):
    of = lambda kind: ", ".join(f"{name} {value / 1e9:,.0f} GFLOP/s" for name, value in ceilings[kind].items())
    copy = f"{ceilings['copy'] / 1e9:,.1f} GB/s"
    return f"Ceilings: matrix product {of('matmul')}; 3 x 3 convolution {of('convolution')}; copy {copy}."


def machine_text(described):
    flat = {name: value for name, value in described.items() if not isinstance(value, dict)}
    versions = {**described["versions"], **{f"peers' {n}": v for n, v in described.get("peers", {}).items()}}
    lines = [f"{name}: {', '.join(value) if isinstance(value, list) else value}" for name, value in flat.items()]
    return "; ".join([*lines, *(f"{name} {version}" for name, version in versions.items())]) + "."


def markdown(table):
    """A DataFrame as a table of GitHub's markdown."""
    text = lambda value: f"{value:,.3g}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"
    cells = [[value if isinstance(value, str) else text(value) for value in row] for row in table.itertuples(index=False)]
    lines = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
