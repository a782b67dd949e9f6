"""What stands below the first screen, section by section: plots, tables and pictures, chosen so that the file stays small.

Enters: results of `evaluate` and `compare`, and the generator. Leaves: `Section` objects, which the template lays out.
"""

import numpy as np
import pandas as pd

from augment_gen.evaluation.arms import NONE
from augment_gen.evaluation.classifier_scores import SCORES
from augment_gen.evaluation.metrics import ALL, METRICS
from augment_gen.report import looks, plots
from augment_gen.report.blocks import Section, Table
from augment_gen.report.style import number
from augment_gen.report.words import NAMES, arm_name, main_contrast

GRADES = {"good": "✓\u00a0good", "fair": "~\u00a0fair", "poor": "✗\u00a0poor"}
LATENT = {  # columns of latent_report_
    "label": "class",
    "n_real": "training rows",
    "n_components": "components",
    "near_share": "near training rows before the filter",
    "rejected_share": "rejected as near copies",
    "copied_share": "exact copies before the filters",
    "label_rejected_share": "rejected as unlike their label",
    "diversity": "spread beside real rows (1: alike)",
}

FILTERS = {  # columns of filter_report_
    "label": "class",
    "seen": "rows looked at",
    "rejected_share": "share rejected",
    "copies": "exact copies",
}


def make_sections(findings):
    """All sections but the first screen and the model card, in order; those with nothing to show are left out.

    Parameters
    ----------
    findings : Findings

    Returns
    -------
    list of Section
    """
    found = []
    if findings.comparison is not None:
        found.append(help_section(findings.comparison, findings.arm))
    if findings.generation is not None:
        found.append(figures_section(findings.generation))
        found.append(looks.looks_section(findings))
        found.append(looks.map_section(findings))
        found.append(looks.copies_section(findings))
    if findings.generator is not None:
        found.append(training_section(findings.generator))
    return [section for section in found if section is not None and section.blocks]


# ------------------------------------------------------------------ does it help
def help_section(comparison, arm):
    """Arms, amounts, and what was recognised without and with synthetic rows."""
    blocks = [*comparison.verdict.splitlines(), *comparison.notes]
    summary = comparison.summary()
    scores = [name for name in SCORES if name in summary]
    lines = [
        (
            arm_name(name),
            "" if pd.isna(line["amount"]) else f"{line['amount']:g}x",
            line["threshold"],
            *(number(line[score]) for score in scores),
        )
        for name, line in summary.iterrows()
    ]
    titles = ["arm", "amount", "threshold", *(NAMES[name] + (" ↓" if SCORES[name].better < 0 else "") for name in scores)]
    note = (
        "Amount: share of the rows that would balance the classes, as chosen most often. Means over splits, on real rows; "
        "↓: less is better."
    )
    blocks.append(Table("All arms, the best first", titles, lines, note))
    names = [contrast.arm for contrast in comparison.contrasts if contrast.word != "failed"]
    blocks.append(plots.sweep_plot(comparison, names[:5]))
    blocks.append(_confusion(comparison, summary, arm))
    return Section("help", "Does it help?", [block for block in blocks if block is not None])


def _confusion(comparison, summary, arm):
    contrast = main_contrast(comparison, arm)
    if contrast is None or contrast.word == "failed":
        return None
    matrices = []
    for name in (NONE, contrast.arm):
        threshold = summary.loc[name, "threshold"]
        threshold = threshold if threshold in ("default", "tuned") else "default"
        amount = summary.loc[name, "amount"]
        matrices.append(comparison.confusion(name, threshold, None if pd.isna(amount) else amount))
    return plots.confusion_plot(*matrices, ("real rows alone", contrast.arm))


# ------------------------------------------------------------------ is it good
def figures_section(generation):
    """All figures beside floor and ceiling, over all classes and by class."""
    lines = list(zip(generation.figures, generation.frame()["grade"], strict=True))
    overall = [(figure, grade) for figure, grade in lines if figure.label is ALL]
    blocks = [*generation.judgement.sentences]
    rows = [
        (
            METRICS[figure.metric].title,
            GRADES.get(grade, figure.note if figure.note.startswith("n too small") else ""),
            number(figure.value),
            f"{number(figure.low)} to {number(figure.high)}" if figure.low == figure.low else "",
            number(figure.ceiling),
            number(figure.floor),
            f"{figure.n:,}",
        )
        for figure, grade in overall
    ]
    titles = ["figure", "grade", "synthetic", "95 % interval", "real rows get", "worthless rows get", "rows"]
    blocks.append(plots.quality_plot(generation))
    blocks.append(Table("Over all classes", titles, rows, "Without a grade: shown, but not judged."))
    by_class = [(figure, grade) for figure, grade in lines if figure.label is not ALL]
    blocks.append(_by_class(by_class, generation.labels))
    return Section("figures", "Are they like real rows?", blocks)


def _by_class(lines, labels):
    judged = [name for name in METRICS if METRICS[name].good is not None or name.endswith("_recall")]
    cells, worst = {}, {}
    for figure, grade in lines:
        if figure.metric not in judged:
            continue
        sign = {"good": "✓ ", "fair": "~ ", "poor": "✗ "}.get(grade, "")
        small = figure.note.startswith("n too small")
        text = "n too small" if small else f"{sign}{number(figure.value)} ({number(figure.ceiling)})"
        cells.setdefault(figure.metric, {})[figure.label] = text
        worst[figure.label] = worst.get(figure.label, 0) + {"poor": 100, "fair": 1}.get(grade, 0)
    metrics = [name for name in judged if name in cells and set(cells[name].values()) != {"n too small"}]
    order = sorted(labels, key=lambda label: -worst.get(label, 0))
    rows = [(str(label), *(cells[name].get(label, "") for name in metrics)) for label in order]
    note = "✓ good, ~ fair, ✗ poor; in brackets what real rows get."
    return Table("By class, the worst first", ["class", *(NAMES.get(name, name) for name in metrics)], rows, note)


# ------------------------------------------------------------------ training
def training_section(generator):
    """Curves, how each class is modelled, and what the filters rejected."""
    blocks = []
    history = getattr(generator, "history_", None)
    if isinstance(history, pd.DataFrame):
        blocks.append(plots.curves_plot(history))
    report = getattr(generator, "latent_report_", None)
    if isinstance(report, pd.DataFrame) and len(report):
        note = "What the filters reject is drawn again under the same label, so that there are as many rows as were asked for."
        blocks.append(_frame_table("How each class is drawn, and what is rejected", report.rename(columns=LATENT), note))
    rejected = getattr(generator, "filter_report_", None)
    if isinstance(rejected, pd.DataFrame) and len(rejected) > 1:  # one line is one class of many, the last that was drawn
        shown = rejected.rename(columns=FILTERS)
        blocks.append(_frame_table("What filters rejected in the last request", shown))
    return Section("training", "Training and filters", [block for block in blocks if block is not None])


def _frame_table(caption, frame, note=""):
    rows = [tuple(_cell(cell) for cell in line) for line in frame.itertuples(index=False, name=None)]
    columns = [str(name).replace("_", " ") for name in frame.columns]
    return Table(caption, columns, rows, note)


def _cell(cell):
    if isinstance(cell, (float, np.floating)):
        return number(cell)
    return f"{cell:,}" if isinstance(cell, (int, np.integer)) and not isinstance(cell, bool) else str(cell)
