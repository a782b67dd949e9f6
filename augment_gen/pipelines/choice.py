"""Which generator, and how much of it: chosen by cross-validation inside the training images, with none among the choices.

Enters: training images and labels. Leaves: a `MixChoice` that says what was chosen, by how much, and why. Small classifiers
are trained, with random changes of their images, on real images repeated to balance and a share of synthetic ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

from augment_gen.codecs import infer_codec
from augment_gen.conditioning import ConditionEncoder
from augment_gen.devices import resolve_autocast, resolve_device
from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.generators import ConditionalVAE, ElasticWarp
from augment_gen.generators.judging import fit_judge, folds
from augment_gen.generators.vae_image import resolve_augmentation
from augment_gen.generators.warp_image import WarpSettings
from augment_gen.networks.conv import Grid, Judge
from augment_gen.networks.initialise import build
from augment_gen.pipelines.mixing import check_mix, mixed_plan
from augment_gen.seeding import draw_seed, numpy_generator, torch_generator
from augment_gen.training import Plan

PLAIN = "none"
STEPS = 500  # of each small classifier
LEAST_PROBABILITY = 0.01  # that a held-out label is charged with, so that no single image decides
KEPT = 0.5  # share of the candidates that the next fold sees


@dataclass(frozen=True)
class MixChoice:
    """What `choose_mix` found.

    Attributes
    ----------
    name : str
        Of the candidate; "none" where no synthetic images are best.
    generator : generator or None
        Not fitted.
    synthetic_share : float
    mix : str
    scores : DataFrame
        One line per candidate: name, synthetic_share, n_folds, log_loss (of held-out images, all classes alike), difference
        to none on the same images (below 0 is better), standard_error of that difference.
    reason : str
    """

    name: str
    generator: object
    synthetic_share: float
    mix: str
    scores: pd.DataFrame
    reason: str

    def to_frame(self):
        """The scores, with a column that marks what was chosen."""
        return self.scores.assign(chosen=self.scores["name"] == self.name)


def choose_mix(
    X,
    y,
    candidates="auto",
    *,
    mix="all",
    n_folds=5,
    classifier=None,
    n_errors=2.0,
    n_repeats=2,
    augment="auto",
    device="auto",
    random_state=None,
):
    """Choose a generator and its share for training a classifier of images, or none.

    Of each fold, generators and classifiers see the other folds only. All candidates are tried on the first fold, the better
    half of them on the second, and so on (successive halving, Jamieson and Talwalkar 2016). A candidate is chosen only where
    it is better than no synthetic images by more than chance would have the best of several appear.

    Parameters
    ----------
    X, y
        Training images and their labels, as for a generator's `fit`.
    candidates : "auto" or dict {str: (generator, float)}
        By a name of yours: a generator that is not fitted, with its parameters set, and its share. One generator with several
        shares is fitted once. "auto" is half and four fifths of `ElasticWarp`, half of one that deforms half as much, four
        fifths of one whose filter lets more pass, and half of `ConditionalVAE`.
    mix : {"all", "minority"}
        As in `mixed_plan`.
    n_folds : int, default=5
    classifier : callable (X, y, X_held_out, seed) -> float array (m, n_classes), optional
        Trains your classifier on images X in your format and int classes y, and returns its probabilities. By default a small
        convolutional network, 500 steps.
    n_errors : float, default=2.0
        Standard errors of its difference to none by which a candidate has to be better to be chosen.
    n_repeats : int, default=2
        Classifiers trained per candidate and fold, whose probabilities are averaged.
    augment : "auto", dict, "none" or None
        Random changes of the small network's training images, as in `ConditionalVAE`.
    device : str or torch.device, default="auto"
        Of the small network.
    random_state : None, int or RandomState

    Returns
    -------
    MixChoice

    Raises
    ------
    InvalidDataError
        X holds no images, or a class has fewer than 3 of them (4 with two folds).
    InvalidParameterError
        Candidates that are not of that form, or a number out of range.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ElasticWarp
    >>> from augment_gen.pipelines.choice import choose_mix
    >>> X, y = load_digits(n_class=2, return_X_y=True)
    >>> elastic = ElasticWarp(label_threshold=0, random_state=0)
    >>> nearest = lambda X, y, held, seed: np.eye(2)[(held.sum((1, 2)) < 300).astype(int)]
    >>> choice = choose_mix(X.reshape(-1, 8, 8), y, {"elastic": (elastic, 0.5)}, classifier=nearest, n_folds=2)
    >>> choice.name, choice.synthetic_share
    ('none', 0.0)
    """
    check_mix(mix, 0.5)
    for name, number in (("n_folds", n_folds), ("n_repeats", n_repeats)):
        if isinstance(number, bool) or not isinstance(number, Integral) or number < (2 if name == "n_folds" else 1):
            raise InvalidParameterError(
                f"{name} must be an integer of at least {2 if name == 'n_folds' else 1}; got {number!r}."
            )
    if isinstance(n_errors, bool) or not isinstance(n_errors, Real) or not 0 <= n_errors < np.inf:
        raise InvalidParameterError(f"n_errors must be a number of at least 0; got {n_errors!r}.")
    rng = numpy_generator(random_state)
    candidates = _candidates(candidates, mix, rng)
    conditions, class_index = ConditionEncoder().fit(y)
    codec = infer_codec(X)
    if codec.modality != "image":
        raise InvalidDataError("choose_mix is for images; X was read as a table.")
    counts = conditions.counts_
    if len(counts) < 2 or (counts - -(-counts // n_folds)).min() < 2:
        raise InvalidDataError(
            "choose_mix holds a fold of each class out, and generators need 2 images of the rest: y needs two classes or more "
            f"with at least {3 if n_folds > 2 else 4} images each."
        )
    codec = codec().fit(X, class_index)
    n_classes = len(counts)
    classifier = classifier or SmallNetwork(codec, n_classes, augment, device)
    trial = Trial(X, y, class_index, n_classes, codec, mix, classifier, n_repeats)
    fold = folds(class_index, n_folds, rng)
    alive, losses = list(candidates), {name: np.full(len(class_index), np.nan) for name in [PLAIN, *candidates]}
    for number in range(n_folds):
        held = np.flatnonzero(fold == number)
        found = trial.run({name: candidates[name] for name in alive}, fold != number, held, rng)
        for name, loss in found.items():
            losses[name][held] = loss
        scores = _scores(losses, class_index, n_classes, {PLAIN: (None, 0.0), **candidates}, fold)
        ranked = scores[scores["name"].isin(alive)].sort_values("difference", kind="stable")["name"]
        alive = ranked.tolist()[: max(1, int(len(alive) * KEPT))]
    return _choice(scores, candidates, alive[0], mix, n_errors)


class Trial:
    """One fold: generators are fitted and classifiers trained on its training images, and asked about the held-out ones."""

    def __init__(self, X, y, class_index, n_classes, codec, mix, classifier, n_repeats):
        self.X, self.y, self.class_index, self.n_classes = X, np.asarray(y), class_index, n_classes
        self.codec, self.mix, self.classifier, self.n_repeats = codec, mix, classifier, n_repeats

    def run(self, candidates, training, held, rng):
        """{name: float array (len(held),)}: the loss of every held-out image, without synthetic images and by candidate."""
        rows = np.flatnonzero(training)
        X, classes, fitted = self.codec.take(self.X, rows), self.class_index[rows], {}
        seeds = [draw_seed(rng) % 2**31 for _ in range(self.n_repeats)]
        losses = {}
        for name, (generator, share) in {PLAIN: (None, 0.0), **candidates}.items():
            if generator is not None and id(generator) not in fitted:
                fitted[id(generator)] = clone(generator).fit(X, self.y[rows])
            probabilities = 0
            for seed in seeds:
                train_X, train_y = self._mixed(X, classes, fitted.get(id(generator)), share, seed)
                probabilities += np.asarray(self.classifier(train_X, train_y, self.codec.take(self.X, held), seed), dtype=float)
            mine = probabilities[np.arange(len(held)), self.class_index[held]] / self.n_repeats
            losses[name] = -np.log(np.maximum(mine, LEAST_PROBABILITY))
        return losses

    def _mixed(self, X, classes, generator, share, seed):
        real, n_synthetic = mixed_plan(classes, self.n_classes, self.mix, share, np.random.default_rng(seed))
        images, labels = self.codec.take(X, real), classes[real]
        if not n_synthetic.sum():
            return images, labels
        wanted = np.repeat(np.arange(self.n_classes), n_synthetic)
        drawn, _ = generator.sample(y=generator.classes_[wanted], random_state=seed)
        return self.codec.concatenate(images, drawn), np.concatenate([labels, wanted])


class SmallNetwork:
    """The classifier that candidates are tried with by default: a `Judge`, with random changes of its training images."""

    def __init__(self, codec, n_classes, augment, device):
        self.codec, self.n_classes = codec, n_classes
        channels, height, width = codec.format_.size
        self.settings = WarpSettings.for_size(0, (height * width) ** 0.5)
        self.augment = self.settings.augment if augment == "auto" else resolve_augmentation(augment)
        grid = Grid(height, width, self.settings.width)
        self.architecture = {"n_channels": channels, "grid": grid, "n_classes": n_classes, "norm": self.settings.norm}
        device = resolve_device(device)
        autocast = resolve_autocast("auto", device, worthwhile=True)
        self.plan = Plan(STEPS, self.settings.batch_size, device, autocast=autocast, description="small classifier")

    def __call__(self, X, y, X_held_out, seed):
        judge = build(Judge, self.architecture, torch_generator(seed)).to(self.plan.device, memory_format=torch.channels_last)
        images = self.codec.encode(X)["images"].to(self.plan.device)
        inputs = lambda numbers, generator: self.augment(self._inputs(images[numbers]), generator)
        generator = torch_generator(seed, self.plan.device)
        fit_judge(judge, inputs, torch.arange(len(y)), torch.from_numpy(y), self.n_classes, self.plan, generator)
        held = self.codec.encode(X_held_out)["images"]
        with torch.no_grad(), torch.autocast(self.plan.device.type, dtype=torch.bfloat16, enabled=self.plan.autocast):
            logits = [judge(self._inputs(part.to(self.plan.device))).float().cpu() for part in held.split(256)]
        return torch.cat(logits).softmax(1).numpy()

    def _inputs(self, images):
        return self.codec.inputs({"images": images}, None)["images"]


def _candidates(candidates, mix, rng):
    if isinstance(candidates, str) and candidates == "auto":
        seed = draw_seed(rng) % 2**31
        elastic = ElasticWarp(random_state=seed)
        return {
            "elastic, half": (elastic, 0.5),
            "elastic, four fifths": (elastic, 0.8),
            "milder elastic, half": (ElasticWarp(displacement=0.02, random_state=seed), 0.5),
            "elastic with a lenient filter, four fifths": (ElasticWarp(label_threshold=0.2, random_state=seed), 0.8),
            "VAE, half": (ConditionalVAE(random_state=seed), 0.5),
        }
    expected = 'candidates must be a dict {name: (generator, share)} of at least one, none of them named "none"'
    if not isinstance(candidates, Mapping) or not candidates or PLAIN in candidates:
        raise InvalidParameterError(f"{expected}; got {candidates!r}.")
    for name, candidate in candidates.items():
        if not isinstance(candidate, tuple) or len(candidate) != 2 or not hasattr(candidate[0], "fit_resample"):
            raise InvalidParameterError(f"{expected}; got {candidate!r} for {name!r}.")
        check_mix(mix, candidate[1])
    return dict(candidates)


def _scores(losses, class_index, n_classes, candidates, fold):
    """One line per candidate; differences are paired, image by image, and all classes count alike."""
    lines = []
    for name, loss in losses.items():
        seen = ~np.isnan(loss)
        mean, _ = _balanced(loss[seen], class_index[seen], n_classes)
        difference, error = _balanced((loss - losses[PLAIN])[seen], class_index[seen], n_classes)
        lines.append(
            {
                "name": name, "synthetic_share": candidates[name][1], "n_folds": len(np.unique(fold[seen])), "log_loss": mean,
                "difference": difference, "standard_error": error,
            }
        )  # fmt: skip
    return pd.DataFrame(lines)


def _balanced(values, classes, n_classes):
    """Mean over the classes' means, and its standard error."""
    counts = np.bincount(classes, minlength=n_classes)
    present = counts > 0
    mean = np.bincount(classes, values, minlength=n_classes)[present] / counts[present]
    variance = np.bincount(classes, values**2, minlength=n_classes)[present] / counts[present] - mean**2
    return mean.mean(), np.sqrt((variance.clip(0) / np.maximum(counts[present] - 1, 1)).sum()) / present.sum()


def _choice(scores, candidates, best, mix, n_errors):
    line = scores.set_index("name").loc[best]
    found = (
        f"{best} changes the log loss of held-out images, {scores['log_loss'].iloc[0]:.4f} without synthetic images, by "
        f"{line['difference']:+.4f} (standard error {line['standard_error']:.4f}, {int(line['n_folds'])} folds)"
    )
    if line["difference"] < -n_errors * line["standard_error"]:
        generator, share = candidates[best]
        reason = f"{found}: better by more than {n_errors:g} errors, so it is chosen."
        return MixChoice(best, clone(generator), share, mix, scores, reason)
    doubt = f"not better by more than {n_errors:g} errors, so none is chosen."
    return MixChoice(PLAIN, None, 0.0, mix, scores, f"The best of {len(candidates)} candidates, {found}: {doubt}")
