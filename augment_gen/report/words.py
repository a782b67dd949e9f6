"""The first screen in words: whether synthetic rows are good, whether they are copies, whether they help, and what to do.

Enters: a `GenerationResult`, a `ComparisonResult`, or both. Leaves: `Answer` objects. Nothing is judged here: the words are
drawn from the verdicts of `evaluate` and `compare`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from augment_gen.evaluation.arms import NONE
from augment_gen.evaluation.classifier_scores import SCORES
from augment_gen.evaluation.metrics import ALL
from augment_gen.evaluation.paired import corrected_interval
from augment_gen.report.style import number, shortened

NAMES = {  # of figures, short enough for a plot or a column
    "column_shapes": "shapes of columns",
    "associations": "how columns go together",
    "missing_rates": "missing cells",
    "c2st_auc": "likeness to real rows (two-sample test)",
    "tstr_balanced_accuracy": "what a classifier learns from them alone",
    "tstr_roc_auc": "the same, as ROC AUC",
    "tstr_recall": "recall, trained on synthetic rows alone",
    "class_consistency": "labels as asked for",
    "frechet_distance": "likeness of features (Frechet)",
    "kernel_distance": "likeness of features (kernel)",
    "precision": "realism (precision)",
    "density": "density",
    "recall": "variety (recall)",
    "coverage": "variety (coverage)",
    "diversity": "variety within a class",
    "inception_score": "Inception score",
    "cas_balanced_accuracy": "what a classifier learns from them alone",
    "cas_recall": "recall, trained on synthetic images alone",
    "exact_copies": "exact copies",
    "near_copies": "near copies",
    "nearer_to_train": "nearer to training rows than held-out rows",
    "authenticity": "authenticity",
    "membership_auc": "membership attack",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "g_mean": "G-mean",
    "minority_recall": "recall of rare classes",
    "minority_precision": "precision of rare classes",
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
SPOKEN_OF_COPIES = ("Copies:", "Membership", "No sign of copying")  # how a verdict's sentences on copies begin
WIDE = 0.1  # an interval of scores that leaves the question open
ORDER = ("helps", "no measurable gain", "harms", "failed")  # of an augmenter's words, the best first


@dataclass(frozen=True)
class Answer:
    """A question of the first screen, and what was found.

    Attributes
    ----------
    question : str
    level : {"good", "fair", "poor", "unclear"}
        Decides colour and sign.
    word : str
        The answer in a word or two.
    text : str
        The figures behind it.
    """

    question: str
    level: str
    word: str
    text: str


def advice(generation, comparison, arm=None):
    """The `Answer` to "should I use these rows?": its word is a sentence.

    Parameters
    ----------
    generation : GenerationResult or None
    comparison : ComparisonResult or None
    arm : str, optional
        Begins the names of the arms that the report is about; otherwise the best augmenter's arm is.
    """
    level, word, text = _advice(generation, comparison, arm)
    if generation is not None and generation.judgement.copies and not _copied(generation):
        text += " Keep them where the training rows may be: an attack can tell from them some of those."
    return Answer("Should I use the synthetic rows?", level, word, text)


def _advice(generation, comparison, arm):
    """``(level, word, text)``."""
    if generation is not None and _copied(generation):
        text = f"{sentences_on_copies(generation)[0]} Give them to nobody to whom you would not give the training data."
        if comparison is not None:
            text += f" Apart from that: {_help(comparison, arm).word.lower()}."
        return "poor", "Not as they are: there are signs of copies.", text
    if comparison is None:
        return _without_comparison(generation)
    contrast = main_contrast(comparison, arm)
    if contrast is None or contrast.word == "failed":
        return "unclear", "Cannot be said: the comparison failed.", _sentence(comparison, arm)
    name, against, scoring = contrast.arm, contrast.against, NAMES.get(comparison.scoring, comparison.scoring)
    scored = f"{scoring} {number(contrast.score)} against {number(contrast.reference)}"
    if contrast.word == "helps":
        better = f"better by {contrast.low:.3f} to {contrast.high:.3f}"
        text = f"{name} beats everything that was tried without a generator, {against} included: {scored} ({better})."
        if generation is not None and generation.judgement.level == "poor":
            text += " The rows themselves are poor, though: use them to train this classifier, not as a stand-in for real data."
        return "good", "Yes: they help.", text
    if contrast.word == "harms":
        text = f"With {name} the classifier is worse than on the real rows alone. Use {_instead(against)}."
        return "poor", "No: they harm.", text
    if contrast.high < 0:
        text = f"They gain less than {against}, which needs no generator: {scored}."
        return "poor", f"No: {against} does better.", text
    does = "does about as well" if contrast.difference >= 0 else "does at least as well"
    text = f"{_begun(against)} {does}, without a generator: {scored} {_possible(contrast)}."
    if contrast.to_none_low > 0:
        text += f" {name} does beat the real rows alone."
    if against == NONE:
        text = f"Training on the real rows alone {does}: {scored} {_possible(contrast)}."
    return "fair", "No need to: no measurable gain.", text


def _without_comparison(generation):
    level, untold = generation.judgement.level, "Whether they help a classifier was not measured: compare() tells."
    if level == "unclear":
        return level, "Cannot be said: too few held-out rows.", "Hold out more rows, and evaluate again."
    if level == "good":
        return level, "They are good; whether they help is untested.", untold
    short = _graded(judged_figures(generation), level)
    if level == "fair":
        return level, "With care: they are fair, not good.", f"They fall short in {short}. {untold}"
    return level, "No: they are poor.", f"They fall far short in {short}. {untold}"


def _instead(against):
    return "the real rows alone" if against == NONE else f"{against} instead"


def _possible(contrast):
    span = f"anything from {contrast.low:+.3f} to {contrast.high:+.3f} is possible"
    more = ", and more rows or splits would tell more" if contrast.high - contrast.low > WIDE else ""
    return f"(difference {contrast.difference:+.3f}; {span}{more})"


def answers(generation, comparison, arm=None):
    """The `Answer` to each question of which something is known, and to whether they help in any case."""
    found = []
    if generation is not None:
        found += [_quality(generation), _copying(generation)]
    return [*found, _help(comparison, arm)]


def _quality(generation):
    level = generation.judgement.level
    if level == "unclear":
        return Answer(
            "Are they like real rows?", level, "Cannot be said", _begun(generation.judgement.sentences[0].partition(": ")[2])
        )
    judged = judged_figures(generation)
    text = f"{(judged['grade'] == 'good').sum()} of {len(judged)} checks are good."
    text += "".join(
        f" {grade.capitalize()}: {_graded(judged, grade)}." for grade in ("poor", "fair") if (judged["grade"] == grade).any()
    )
    headline = generation.judgement.sentences[0].partition(": ")[2].partition("; ")[0].rstrip(".")
    return Answer("Are they like real rows?", level, level.capitalize(), f"{text} {_begun(headline)}.")


def _graded(judged, grade):
    return ", ".join(NAMES.get(metric, metric) for metric in judged.loc[judged["grade"] == grade, "metric"])


def judged_figures(generation):
    """The rows of ``frame()`` that are over all classes and have a grade."""
    rows = [figure.label is ALL for figure in generation.figures]
    return generation.frame()[rows].dropna(subset=["grade"])


def _copying(generation):
    text = " ".join(sentences_on_copies(generation))
    if generation.judgement.copies:
        text = " ".join([text, *(said for said in generation.judgement.sentences if said.startswith("Caution:"))])
        level, word = ("poor", "Signs of copies") if _copied(generation) else ("fair", "Not as such, but they leak")
        return Answer("Are they copies?", level, word, text)
    if text.startswith("No sign"):
        return Answer("Are they copies?", "good", "No sign of it", _begun(text.partition(": ")[2]))
    return Answer("Are they copies?", "unclear", "Too few rows to say", _begun(text.partition(": ")[2]))


def _copied(generation):
    """Whether rows themselves come back, which is worse than that an attack works."""
    return any(said.startswith("Copies:") for said in sentences_on_copies(generation)) and generation.judgement.copies


def sentences_on_copies(generation):
    """Those of the verdict's sentences."""
    return [text for text in generation.judgement.sentences if text.startswith(SPOKEN_OF_COPIES)]


def _help(comparison, arm):
    question = "Do they help?"
    if comparison is None:
        return Answer(question, "unclear", "Not measured", "compare() puts them beside class weights and oversampling.")
    contrast = main_contrast(comparison, arm)
    level, word = {
        "helps": ("good", "They help"),
        "no measurable gain": ("fair", "No measurable gain"),
        "harms": ("poor", "They harm"),
    }.get(contrast.word if contrast else "", ("unclear", "The comparison failed"))
    if contrast is not None and contrast.word == "no measurable gain" and contrast.high < 0:
        level, word = "poor", "Less than the alternatives"
    if contrast is None or contrast.word == "failed":
        return Answer(question, level, word, _sentence(comparison, arm))
    span = f"{contrast.to_none:+.3f} ({contrast.to_none_low:+.3f} to {contrast.to_none_high:+.3f})"
    text = f"{contrast.arm} against the real rows alone: {NAMES.get(comparison.scoring, comparison.scoring)} {span}."
    return Answer(question, level, word, text)


def _begun(text):
    return text[:1].upper() + text[1:]


def _sentence(comparison, arm):
    contrast = main_contrast(comparison, arm)
    return "No augmenter was compared." if contrast is None else contrast.sentence(comparison.scoring)


def main_contrast(comparison, arm=None):
    """The `Contrast` that the first screen is about: the best of the arms that begin with `arm`, or of all."""
    contrasts = [c for c in comparison.contrasts if arm and c.arm.startswith(arm)] or list(comparison.contrasts)
    sign = SCORES[comparison.scoring].better
    order = lambda c: (ORDER.index(c.word), -sign * (c.score if c.score == c.score else -np.inf))
    return min(contrasts, key=order, default=None)


def arm_name(arm):
    """An arm as the report calls it."""
    return "real rows alone" if arm == NONE else arm


def shown_arms(comparison):
    """Arms that did not fail, best first, with the interval of their difference to the best arm without a generator.

    Returns
    -------
    DataFrame
        Index arm; "kind", "score", and "low" and "high" on the scale of scores (NaN for that best arm itself). Its name is
        ``attrs["reference"]``, the intervals' level ``attrs["level"]``.
    """
    sign = SCORES[comparison.scoring].better
    rows = comparison.frame()
    rows = rows[rows["chosen"] & (rows["metric"] == comparison.scoring) & ~rows["arm"].isin(comparison.failures)]
    wide = rows.pivot_table(index="split", columns="arm", values="value", sort=False)
    kinds = rows.groupby("arm", sort=False)["kind"].first()
    means = wide.mean()
    baselines = means[kinds[means.index] == "baseline"]
    reference = (sign * baselines).idxmax()
    contrasts = {contrast.arm: contrast for contrast in comparison.contrasts}
    level = max([contrast.level for contrast in contrasts.values() if contrast.word != "failed"], default=0.95)
    lines = {}
    for arm in means.index:
        low = high = np.nan
        if arm != reference:
            gaps = (wide[arm] - wide[reference]).dropna()
            _, low, high = corrected_interval(gaps, comparison.n_test / comparison.n_train, level)
        lines[arm] = {"kind": kinds[arm], "score": means[arm], "low": means[reference] + low, "high": means[reference] + high}
    table = pd.DataFrame.from_dict(lines, orient="index").sort_values("score", ascending=sign < 0, kind="stable")
    table.attrs |= {"reference": reference, "level": level}
    return table


def arm_line(arm):
    """An arm of `shown_arms`, as ``itertuples`` gives it, in words."""
    span = f" (interval {number(arm.low)} to {number(arm.high)})" if arm.low == arm.low else ""
    return f"{shortened(arm_name(arm.Index), 60)} {number(arm.score)}{span}"
