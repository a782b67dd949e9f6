"""Sections that show rows themselves: images or columns, maps, and the synthetic rows nearest to training rows."""

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from augment_gen.evaluation.table_rows import TableRows
from augment_gen.report import plots
from augment_gen.report.blocks import Section, Table
from augment_gen.report.maps import column_plot, map_plot
from augment_gen.report.pictures import Images, class_strips, picture
from augment_gen.report.style import number
from augment_gen.report.words import sentences_on_copies
from augment_gen.sampling.resampled import take

MAX_COLUMN_PLOTS = 6  # the columns that fit worst
MAX_GALLERY = 12  # synthetic images shown beside their neighbours; of table rows a third
MAX_CELLS = 12  # columns of such a row
MAP_ROWS = 800  # of each kind, on the map of latents
WITHIN = 0.02  # distance beyond what training rows have up to which a column counts as like the real one


def looks_section(findings):
    """Images of each class, or the columns that fit worst."""
    generation, y_train = findings.generation, findings.y_train
    if generation.modality == "image":
        drawn = generation.X_synthetic, generation.y_synthetic, generation.labels
        strips, left = class_strips(findings.X_shown, y_train, *drawn)
        rows = []
        for label, n_real, real, synthetic in strips:
            if real is not None:
                rows.append((str(label), f"real, of {n_real:,}", real))
            rows.append((str(label), "synthetic", synthetic))
        note = "The rarest classes first." + (f" {left} more classes are left out." if left else "")
        table = Table("Images of each class, picked at random", ["class", "kind", "images"], rows, note)
        return Section("images", "Images", [table])
    return Section("columns", "Columns", _columns(generation, findings.X_train))


# ------------------------------------------------------------------ columns
def _columns(generation, X_train):
    columns = generation.columns.assign(excess=generation.columns["value"] - generation.columns["ceiling"])
    columns = columns.sort_values("excess", ascending=False, kind="stable")
    alike = int((columns["excess"] <= WITHIN).sum())
    blocks = [
        f"{alike} of {len(columns)} columns are shaped like the real ones: no more than {WITHIN:g} farther from held-out rows "
        "than training rows are."
    ]
    shown = columns.head(MAX_COLUMN_PLOTS)
    if X_train is not None:
        frames = _as_frames(X_train, generation.X_synthetic)
        blocks += [
            column_plot(name, *(frame[name] for frame in frames), place) for place, name in enumerate(shown["column"], start=1)
        ]
        if len(columns) > len(shown):
            blocks.append(f"Drawn are the {len(shown)} columns that fit worst.")
    gone = columns[["missing_real", "missing_synthetic"]].to_numpy().any()
    rows = [
        (
            str(line.column),
            line.kind,
            number(line.value),
            number(line.ceiling),
            number(line.floor),
            *((f"{line.missing_synthetic:.1%}", f"{line.missing_real:.1%}") if gone else ()),
        )
        for line in columns.itertuples()
    ]
    titles = ["column", "kind", "synthetic", "real rows get", "worthless rows get"]
    titles += ["missing, synthetic", "missing, real"] if gone else []
    note = "Distance to held-out rows: Kolmogorov-Smirnov for numbers, total variation for categories; 0 is alike, 1 unlike."
    blocks.append(Table("Columns, the worst first", titles, rows, note))
    pairs = generation.pairs.dropna(subset=["real"])
    if len(pairs):
        blocks.append(plots.pairs_plot(pairs))
        gap = (pairs["synthetic"].fillna(0) - pairs["real"]).abs()
        worst = pairs.loc[gap.sort_values(ascending=False, kind="stable").index].head(10)
        rows = [
            (str(line.column), str(line.other), number(line.synthetic), number(line.real), number(line.train))
            for line in worst.itertuples()
        ]
        titles = ["column", "and", "synthetic", "held-out", "training"]
        note = "Rank correlation of numbers, Cramer's V of categories, correlation ratio of one of each."
        blocks.append(Table("Pairs of columns, the worst first", titles, rows, note))
    return blocks


def _as_frames(X_train, X_synthetic):
    reader = TableRows().fit(X_train)
    return reader.read(X_train, "X_train"), reader.read(X_synthetic, "X_synthetic")


# ------------------------------------------------------------------ maps
def map_section(findings):
    """Real and synthetic rows in two dimensions: of features, and of the generator's latents where it encodes."""
    generation, blocks = findings.generation, []
    labels = generation.map["class"] if findings.y_train is None else findings.y_train
    rare = list(pd.Series(np.asarray(labels, dtype=object)).value_counts(ascending=True).index)
    if len(generation.map):
        what = "image features" if generation.modality == "image" else "the columns"
        blocks.append(map_plot(generation.map, "map-features", what, rare))
    points = _latents(findings)
    if points is not None:
        blocks.append(map_plot(points, "map-latents", "the generator's latents", rare))
    return Section("map", "Maps of real and synthetic rows", blocks)


def _latents(findings):
    """As ``generation.map``, of encoded training and synthetic rows; None where the generator does not encode."""
    generation, generator = findings.generation, findings.generator
    if findings.X_train is None or not callable(getattr(generator, "encode", None)):
        return None
    rng, parts = np.random.default_rng(0), []
    sides = ("real", findings.X_train, findings.y_train), ("synthetic", generation.X_synthetic, generation.y_synthetic)
    for kind, X, y in sides:
        y = np.asarray(y, dtype=object)
        rows = np.sort(rng.permutation(len(y))[:MAP_ROWS])
        parts.append((kind, generator.encode(take(X, rows), pd.Series(y[rows]).infer_objects().to_numpy()), y[rows]))
    real = parts[0][1]
    if min(real.shape) < 2:
        return None
    pca = PCA(2, svd_solver="full").fit(real)
    frames = []
    for kind, z, labels in parts:
        x, y = pca.transform(z).T
        frames.append(pd.DataFrame({"x": x, "y": y, "kind": kind, "class": pd.Series(labels, dtype=object)}))
    return pd.concat(frames, ignore_index=True)


# ------------------------------------------------------------------ copies
def copies_section(findings):
    """The synthetic rows nearest to training rows, those that are nearer than held-out rows lie first."""
    generation, X_train = findings.generation, findings.X_shown
    gallery = generation.gallery
    if gallery.empty:
        return None
    nearest = gallery[gallery["rank"] == 1].assign(share=lambda rows: rows["distance"] / rows["held_out"].replace(0, np.nan))
    nearest = nearest.sort_values(["share", "distance"], kind="stable")
    said = sentences_on_copies(generation)
    if X_train is None:
        distances = [(str(line["class"]), number(line.distance), number(line.held_out)) for _, line in nearest.iterrows()]
        table = Table("Synthetic rows nearest to training rows", ["class", "distance", "of held-out rows"], distances)
        return Section("copies", "Are they copies?", [*said, table])
    show = _image_pairs if generation.modality == "image" else _row_pairs
    return Section("copies", "Are they copies?", [*said, *show(generation, nearest, X_train)])


def _image_pairs(generation, nearest, X_train):
    images, rows = Images(X_train), []
    for line in nearest.head(MAX_GALLERY).to_dict("records"):
        beside = generation.gallery[generation.gallery["synthetic"] == line["synthetic"]].sort_values("rank")
        drawn = images.pixels(generation.X_synthetic, [line["synthetic"]])[0]
        real = images.pixels(X_train, beside["train"].to_numpy())
        pictures = [picture(one, f"training image number {i}") for one, i in zip(real, beside["train"], strict=True)]
        pictures += [""] * (3 - len(pictures))
        synthetic = picture(drawn, f"synthetic image of class {line['class']}", synthetic=True)
        rows.append((str(line["class"]), synthetic, *pictures, number(line["distance"]), number(line["held_out"])))
    titles = ["class", "synthetic", "nearest training image", "second", "third", "distance", "of held-out images"]
    note = (
        "Distance in pixels averaged down; beside it the median distance of held-out images of the class to their nearest one."
    )
    return [Table("The synthetic images nearest to training images", titles, rows, note)]


def _row_pairs(generation, nearest, X_train):
    real, drawn = _as_frames(X_train, generation.X_synthetic)
    names, rows = list(real.columns), []
    for line in nearest.head(MAX_GALLERY // 3).to_dict("records"):
        cells = [frame.iloc[line[which]] for frame, which in ((drawn, "synthetic"), (real, "train"))]
        texts = [[_short(value) for value in row] for row in cells]
        same = sum(a == b for a, b in zip(*texts, strict=True))
        about = f"{number(line['distance'])} ({number(line['held_out'])})"
        rows.append((f"synthetic, {line['class']}", about, f"{same} of {len(names)}", *texts[0][:MAX_CELLS]))
        marked = [("= " if a == b else "≠ ") + b for a, b in zip(*texts, strict=True)]
        rows.append((f"training, {line['train_class']}", "", "", *marked[:MAX_CELLS]))
    titles = ["row", "distance (of held-out rows)", "cells alike", *map(str, names[:MAX_CELLS])]
    note = "= and ≠ mark cells of the training row that are, and that are not, as in the synthetic row above."
    if len(names) > MAX_CELLS:
        note += f" The first {MAX_CELLS} of {len(names)} columns."
    return [Table("The synthetic rows nearest to training rows, and these", titles, rows, note)]


def _short(value):
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.4g}"
    return "" if value is None or value is pd.NA or value is pd.NaT else str(value)
