"""From figures to words: how good the synthetic rows are, whether they are copies, and what could not be told.

Enters: `Figure` objects. Leaves: a `Verdict`. The thresholds of quality stand in `metrics.METRICS`; those on copies here.
"""

from dataclasses import dataclass

import numpy as np

from augment_gen.evaluation.metrics import ALL, METRICS

LEVELS = ("poor", "fair", "good")
HEADLINES = ("c2st_auc", "tstr_balanced_accuracy", "cas_balanced_accuracy")  # said in the first sentence, where given
EXACT_BEYOND = 0.01  # exact copies are named where their share is surely this much above that of held-out rows:
# chance repeats rows of coarse tables, and a hundredth of copies cannot be chance
NEAR_BEYOND = 2.0  # near copies where their share is surely this many times that of held-out rows: half of them, then,
# are near for another reason than that real rows are
MEMBERSHIP_BEYOND = 0.55  # a membership attack where its AUC is surely above; less can be a slight shift from train to test
SHIFTED = 0.6  # two-sample AUC of training against held-out rows from which these are not alike
MAX_NAMED = 5  # classes, or reasons, that are named
CAVEAT = "That is no proof of privacy: rows that pass such tests can still give training rows away (arXiv:2505.01524)."


@dataclass(frozen=True)
class Verdict:
    """What the figures say.

    Attributes
    ----------
    level : {"good", "fair", "poor", "unclear"}
        The lowest grade among the judged figures over all classes; "unclear" where there is none.
    copies : bool
        Whether there are signs of copying.
    sentences : tuple of str
        Quality; copies; classes that stand out; cautions.
    """

    level: str
    copies: bool
    sentences: tuple

    def __str__(self):
        return "\n".join(self.sentences)


def grade(figure):
    """ "good", "fair" or "poor", or None for a figure that is not judged. At the ceiling, within its interval, is good."""
    metric = METRICS[figure.metric]
    if metric.good is None or np.isnan(figure.score):
        return None
    ceiling = max(0.5, figure.ceiling) if figure.metric == "c2st_auc" else figure.ceiling
    at_ceiling = figure.low <= ceiling if metric.better == "lower" else figure.high >= ceiling
    if at_ceiling or figure.score >= metric.good:
        return "good"
    return "fair" if figure.score >= metric.fair else "poor"


def judge(figures):
    """The `Verdict` on a list of `Figure`."""
    overall = {figure.metric: figure for figure in figures if figure.label is ALL}
    grades = {name: grade(figure) for name, figure in overall.items() if grade(figure)}
    level = min(grades.values(), key=LEVELS.index) if grades else "unclear"
    shifted = _shifted(overall)
    signs = _signs_of_copies(overall, shifted)
    sentences = [_quality(level, grades, overall), *(signs or [_no_copies(overall)])]
    sentences += _classes(figures, shifted) + _cautions(figures, overall)
    return Verdict(level, bool(signs), tuple(sentences))


def _quality(level, grades, overall):
    if level == "unclear":
        return "Unclear: too few held-out rows to judge the synthetic ones."
    said = [_said(overall[name]) for name in HEADLINES if name in overall and not np.isnan(overall[name].value)]
    because = [name for name, given in grades.items() if given == level and name not in HEADLINES]
    text = f"{level.capitalize()}: {'; '.join(said)}." if said else f"{level.capitalize()}."
    if level != "good" and because:
        text += f" Held back by: {'; '.join(_said(overall[name]) for name in because[:MAX_NAMED])}."
    return text


def _said(figure):
    metric = METRICS[figure.metric]
    beside = f"(real rows: {_number(figure.ceiling)}, worthless ones: {_number(figure.floor)})"
    return f"{metric.title} {_number(figure.value)} {beside}"


def _shifted(overall):
    """Whether training rows differ from held-out ones by themselves."""
    shift = overall.get("c2st_auc")
    return shift is not None and shift.ceiling > SHIFTED


def _signs_of_copies(figures, shifted):
    """Sentences, one per sign; `figures` maps metric to Figure, of one class or of all.

    Where training rows differ from held-out ones by themselves, a membership attack finds that difference, and says nothing.
    """
    said = []
    exact, near, member = (figures.get(name) for name in ("exact_copies", "near_copies", "membership_auc"))
    if exact is not None and exact.low > np.nan_to_num(exact.ceiling) + EXACT_BEYOND:
        natural = f"{exact.ceiling:.0%} of the held-out rows do"
        said.append(f"Copies: {exact.value:.0%} of the synthetic rows equal a training row ({natural}).")
    if near is not None and near.low > NEAR_BEYOND * near.ceiling:
        said.append(
            f"Copies: {near.value:.0%} of the synthetic rows lie nearer to a training row than the nearest "
            f"{near.ceiling:.0%} of the held-out rows do."
        )
    if member is not None and member.low > MEMBERSHIP_BEYOND and not shifted:
        said.append(
            f"Membership leaks: an attack tells training rows from held-out ones with AUC {_number(member.value)} "
            f"({_number(member.low)} to {_number(member.high)}; .50 is chance)."
        )
    return said


def _no_copies(figures):
    near = figures.get("near_copies")
    if near is None or np.isnan(near.value):
        return f"Copies: too few held-out rows for the tests on near copies; no exact ones beyond chance. {CAVEAT}"
    return (
        f"No sign of copying: {near.value:.0%} of the synthetic rows lie nearer to a training row than the nearest "
        f"{near.ceiling:.0%} of the held-out rows do. {CAVEAT}"
    )


def _classes(figures, shifted):
    """Sentences on classes whose own figures are poor, or show copies; the worst first."""
    found = []
    for label, own in _by_class(figures).items():
        poor = [figure for figure in own.values() if grade(figure) == "poor"]
        signs = _signs_of_copies(own, shifted)
        if poor or signs:
            said = [*signs, *(f"Poor {_said(figure)}." for figure in poor)]
            found.append((-len(said), f"Class {label!r}: {' '.join(said)}"))
    found.sort(key=lambda pair: pair[0])
    more = [f"{len(found) - MAX_NAMED} more classes stand out: see frame()."] if len(found) > MAX_NAMED else []
    return [text for _, text in found[:MAX_NAMED]] + more


def _cautions(figures, overall):
    said = []
    if _shifted(overall):
        said.append(
            f"Caution: training rows themselves differ from the held-out ones (AUC {_number(overall['c2st_auc'].ceiling)}): "
            "copies can seem more than they are, a membership attack says nothing, and ceilings are low."
        )
    small = [
        repr(label) for label, own in _by_class(figures).items() if any(f.note.startswith("n too small") for f in own.values())
    ]
    if small:
        more = f" and {len(small) - MAX_NAMED} more" if len(small) > MAX_NAMED else ""
        said.append(f"Too few held-out or training rows for some figures of class {', '.join(small[:MAX_NAMED])}{more}.")
    return said


def _by_class(figures):
    """Label -> {metric: Figure}, without those over all classes."""
    out = {}
    for figure in figures:
        if figure.label is not ALL:
            out.setdefault(figure.label, {})[figure.metric] = figure
    return out


def _number(value):
    """ "1.00", ".56", "12.3": two decimals below ten, without a leading zero."""
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
