"""Whether an augmenter helps: its scores beside those of the arms without a generator, split by split.

Enters: the chosen score of every arm in every split. Leaves: a `Contrast` per augmenter, with a word for it.
"""

from dataclasses import dataclass

import numpy as np

from augment_gen.evaluation.arms import NONE
from augment_gen.evaluation.classifier_scores import SCORES
from augment_gen.evaluation.paired import corrected_interval

CONFIDENCE = 0.95  # of all intervals together
WIDE = 0.15  # of an interval, above which "no measurable gain" says little


@dataclass(frozen=True)
class Contrast:
    """One augmenter beside the best arm without a generator.

    Attributes
    ----------
    arm : str
    against : str
        The best arm without a generator; or the one that the augmenter does not measurably beat, where it beats the best.
    score, reference : float
        Mean scores of the two.
    difference, low, high : float
        Mean paired difference, above 0 where the augmenter is better (also of scores of which less is better), and its
        interval.
    level : float
        Of the interval.
    to_none, to_none_low, to_none_high : float
        The same against training on the real rows alone.
    word : {"helps", "no measurable gain", "harms", "failed"}
    error : str
        What went wrong, where it failed.
    """

    arm: str
    against: str
    score: float = np.nan
    reference: float = np.nan
    difference: float = np.nan
    low: float = np.nan
    high: float = np.nan
    level: float = np.nan
    to_none: float = np.nan
    to_none_low: float = np.nan
    to_none_high: float = np.nan
    word: str = "failed"
    error: str = ""

    def sentence(self, scoring):
        """The verdict in words."""
        name = scoring.replace("_", " ")
        if self.word == "failed":
            return f"{self.arm} failed {self.error}"
        span = lambda mean, low, high: f"{mean:+.3f} ({100 * self.level:.3g} % interval {low:+.3f} to {high:+.3f})"
        against = "the real rows alone" if self.against == NONE else self.against
        scored, gap = f"{name} {self.score:.3f}", span(self.difference, self.low, self.high)
        if self.word == "helps":
            return f"{self.arm} helps: {scored}, {gap} against {against}, the best arm without a generator."
        if self.word == "harms":
            alone = span(self.to_none, self.to_none_low, self.to_none_high)
            return f"{self.arm} harms: {scored}, {alone} against training on the real rows alone."
        word = "worse than" if self.high < 0 else "no measurable gain over"
        wide = " That is too wide to tell: more splits or rows would narrow it." if self.high - self.low > WIDE else ""
        return f"{self.arm}: {word} {against}: {scored}, difference {gap}.{wide}"


def make_contrasts(scores, augmenters, failures, scoring, test_share):
    """A `Contrast` for every augmenter's arm.

    An augmenter "helps" where the interval of its difference to *every* arm without a generator lies above 0 (so that none of
    them need be picked first), "harms" where that to training on the real rows alone lies below. With several augmenters
    each interval is widened until all together hold with 95 % (Bonferroni).

    Parameters
    ----------
    scores : DataFrame (n_splits, n_arms)
        Of every arm that did not fail, higher is better.
    augmenters : list of str
        Arms with a generator, failed ones included.
    failures : dict {str: str}
    scoring : str
    test_share : float

    Returns
    -------
    tuple of Contrast
    """
    references = [arm for arm in scores.columns if arm not in augmenters]
    best = scores[references].mean().idxmax()
    level = 1 - (1 - CONFIDENCE) / max(1, len(augmenters) - len(failures.keys() & set(augmenters)))
    sign, found = SCORES[scoring].better, []
    for arm in augmenters:
        if arm in failures:
            found.append(Contrast(arm, best, error=failures[arm]))
            continue
        against = {name: corrected_interval(scores[arm] - scores[name], test_share, level) for name in references}
        word, rival = "no measurable gain", best
        if all(low > 0 for _, low, _ in against.values()):
            word = "helps"
        elif against[NONE][2] < 0:
            word = "harms"
        elif against[best][1] > 0:  # it beats the best arm, but another, whose scores vary more, not for certain
            rival = min(against, key=lambda name: against[name][1])
        means = sign * scores[arm].mean(), sign * scores[rival].mean()
        found.append(Contrast(arm, rival, *means, *against[rival], level, *against[NONE], word))
    return tuple(found)
