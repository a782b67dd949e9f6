"""From the records of a comparison's cells to its tables and contrasts."""

import numpy as np
import pandas as pd

from augment_gen.errors import InvalidParameterError
from augment_gen.evaluation.classifier_scores import SCORES, decision_scores
from augment_gen.evaluation.contrasts import make_contrasts

THRESHOLDS = ("default", "tuned")
COLUMNS = ["arm", "kind", "amount", "threshold", "split", "metric", "value", "chosen"]


def assemble(records, sources, notes, setting, scoring, test_share):
    """What a `ComparisonResult` is made of, besides its description.

    Parameters
    ----------
    records : dict {(split, source name): dict}
        As `run_cell` gives them.
    sources : list of Source
    notes : list of str
    setting : Setting
    scoring : str
    test_share : float
        Rows tested on, divided by rows trained on.

    Returns
    -------
    dict
        "scores", "matrices", "seconds", "contrasts", "failures", "notes", "chosen_inside".
    """
    by_name = {source.name: source for source in sources}
    failures = _failures(records, by_name)
    lines, matrices, seconds, chosen, notes = [], [], [], [], list(notes)
    for (split, name), record in records.items():
        if "error" in record:
            continue
        kind = "baseline" if by_name[name].is_baseline else "augmenter"
        notes += record["notes"]
        if by_name[name].augmenter is not None:
            seconds.append((name, "drawing", record["seconds"]))
        for learner in by_name[name].learners:
            entries = [entry for entry in record["arms"] if entry["arm"] == learner.arm]
            best, value = _choose(entries, scoring, setting.rare)
            chosen.append((learner.arm, split, SCORES[scoring].better * value))
            for entry in entries:
                about = (learner.arm, kind, np.nan if entry["amount"] is None else entry["amount"])
                seconds.append((learner.arm, "training", entry["seconds"]))
                lines += _lines(entry, about, split, entry is best, setting.rare)
                matrices += [(*about, which, split, np.array(entry[which])) for which in THRESHOLDS if which in entry]
    scores = pd.DataFrame(lines, columns=COLUMNS)
    wide = pd.DataFrame(chosen, columns=["arm", "split", "value"]).pivot(index="split", columns="arm", values="value")
    order = [learner.arm for source in sources for learner in source.learners]
    augmenters = [learner.arm for source in sources if not source.is_baseline for learner in source.learners]
    notes += [f"The arm {arm!r} failed {why}" for arm, why in failures.items() if arm not in augmenters]
    tuned, inner = (scores["threshold"] == "tuned").any(), setting.inner_cv is not None
    return {
        "scores": scores,
        "matrices": pd.DataFrame(matrices, columns=["arm", "kind", "amount", "threshold", "split", "matrix"]),
        "seconds": _mean_seconds(seconds),
        "contrasts": make_contrasts(
            wide[[arm for arm in order if arm in wide and arm not in failures]], augmenters, failures, scoring, test_share
        ),
        "failures": failures,
        "notes": tuple(dict.fromkeys(notes)),
        "chosen_inside": tuple(name for name, given in (("amounts", inner), ("thresholds", tuned)) if given),
    }


def _failures(records, by_name):
    """{arm: text} of the arms whose source failed in any split."""
    found = {}
    for (split, name), record in sorted(records.items(), key=lambda item: item[0][0]):
        for learner in by_name[name].learners if "error" in record else ():
            found.setdefault(learner.arm, f"in split {split}: {record['error']}")
    return found


def _regime(entry):
    """The threshold that counts: the tuned one, where there is one."""
    return "tuned" if "tuned" in entry else "default"


def _choose(entries, scoring, rare):
    """The entry (amount) that inner cross-validation finds best, the largest without it; and its score on the test rows."""
    of_ranks = SCORES[scoring].from_ != "decisions"

    def inner(entry):
        figures = entry["inner"].get("any" if of_ranks else _regime(entry), {})
        return SCORES[scoring].better * figures.get(scoring, 0.0)

    best = max(entries, key=inner)  # the first, which is the largest amount, among equals
    found = best["any"] if of_ranks else decision_scores(best[_regime(best)], rare)
    if scoring not in found:
        raise InvalidParameterError(
            f"scoring={scoring!r} is computed from {SCORES[scoring].from_}, which the estimator does not give. Choose a "
            "figure of decisions, or an estimator with predict_proba."
        )
    return best, found[scoring]


def _lines(entry, about, split, is_best, rare):
    """Rows of the frame: every figure of one arm, amount and split."""
    for which in THRESHOLDS:
        if which in entry:
            for metric, value in decision_scores(entry[which], rare).items():
                yield (*about, which, split, metric, value, is_best and which == _regime(entry))
    for metric, value in entry["any"].items():
        yield (*about, "any", split, metric, value, is_best)


def _mean_seconds(seconds):
    frame = pd.DataFrame(seconds, columns=["name", "of", "seconds"])
    return frame.pivot_table(index="name", columns="of", values="seconds", aggfunc="mean", sort=False)
