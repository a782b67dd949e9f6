"""Where in latent space a class lives: one density per class, fitted after training, chosen by the size of the class.

Enters: posterior means and standard deviations of the training rows, float32 (n, d). Leaves: latents drawn for a class.
A prior N(0, I) misses the aggregate posterior of a trained VAE; a density refitted to it mends that cheaply (Ghosh et
al. 2020, "From variational to deterministic autoencoders", section 4).
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

N_NEIGHBOURS = 5
MAX_COMPONENTS = 30
MAX_ITERATIONS, TOLERANCE = 30, 1e-3  # of a mixture: steps, and the gain in mean log-likelihood below which it stops before
MAX_EXEMPLARS = 20_000  # rows of a class that its density is fitted to; more would cost a search of quadratic time


@dataclass(frozen=True)
class DensityRule:
    """Class sizes from which each density is used, and how strongly small classes lean on the others.

    Attributes
    ----------
    interpolation : int or None
        Rows from which latents are drawn from a posterior mean up to half of the way to a neighbour's, plus posterior noise
        (None: never).
    rows_per_component : int
        A Gaussian mixture gets one component for so many rows; with fewer than two components' worth, one Gaussian.
    jitter : int
        Classes of fewer rows draw around single rows.
    shrinkage : float
        The covariance of one Gaussian is ``a * own + (1 - a) * pooled`` with ``a = n / (n + shrinkage * d)``.
    mean_shrinkage : float
        The mean is pulled towards 0 by ``mean_shrinkage * (1 - a)`` of itself.
    regularisation : float
        Added to the variances of a mixture's components.
    """

    interpolation: int | None = 500
    rows_per_component: int = 20
    jitter: int = 5
    shrinkage: float = 2.0
    mean_shrinkage: float = 0.0
    regularisation: float = 1e-2

    def choose(self, n_rows):
        """The name of the density for a class of `n_rows`."""
        if n_rows < self.jitter:
            return "jitter"
        if self.interpolation is not None and n_rows >= self.interpolation:
            return "interpolation"
        return "mixture" if n_rows >= 2 * self.rows_per_component else "gaussian"


class LatentDensity:
    """One density per class.

    Parameters
    ----------
    method : {"auto", "interpolation", "mixture", "gaussian", "exemplar"}
        "auto" lets `rule` choose by class size.
    rule : DensityRule
    """

    def __init__(self, method, rule):
        self.method, self.rule = method, rule

    def fit(self, means, deviations, class_index, n_classes, rng, counts=None):
        """Fit every class to posterior means and standard deviations, float32 (n, d); returns self.

        `class_index` int64 (n,) are their classes; `counts` int64 (n_classes,) says how many rows each class has in all,
        where only its `exemplars` are given.
        """
        counts = np.bincount(class_index, minlength=n_classes) if counts is None else counts
        rows = [np.flatnonzero(class_index == k) for k in range(n_classes)]
        means, deviations = ([part[r].astype(np.float64) for r in rows] for part in (means, deviations))
        scatter = [n * np.cov(m.T, bias=True).reshape(m.shape[1], -1) for n, m in zip(counts, means, strict=True) if n]
        noise = [n * (d**2).mean(0) for n, d in zip(counts, deviations, strict=True) if n]
        pooled = (sum(scatter) + np.diag(sum(noise))) / counts.sum()
        self.classes = [self._fit_class(*one, pooled, rng) for one in zip(counts, means, deviations, strict=True)]
        return self

    @classmethod
    def prior(cls, dim, counts):
        """N(0, I) for classes of so many rows, int array (n_classes,); looks at no latents."""
        self, one = (
            cls("prior", DensityRule()),
            {"weights": np.ones(1), "means": np.zeros((1, dim)), "spreads": np.eye(dim)[None]},
        )
        self.classes = [{"name": "prior", "n_rows": int(n), **one} for n in counts]
        return self

    def _fit_class(self, n_rows, means, deviations, pooled, rng):
        n_rows = int(n_rows)
        name = self.rule.choose(n_rows) if self.method == "auto" or n_rows < 3 else self.method
        if name == "interpolation":
            return _neighbourhood(name, n_rows, means, deviations, neighbours=min(N_NEIGHBOURS, n_rows - 1))
        if name in ("exemplar", "jitter"):
            spread = np.linalg.cholesky(pooled + 1e-6 * np.eye(len(pooled)))
            return _neighbourhood(name, n_rows, means, deviations, spread=spread)
        components = min(MAX_COMPONENTS, n_rows // self.rule.rows_per_component)
        if name == "gaussian" or components < 2:
            return self._gaussian(n_rows, means, deviations, pooled)
        draws = max(1, math.ceil(300 / n_rows))
        latents = np.concatenate([means + deviations * rng.standard_normal(means.shape) for _ in range(draws)])
        latents = latents[rng.permutation(len(latents))[:8000]]
        weights, centres, covariances = _fit_mixture(latents, components, self.rule.regularisation, int(rng.integers(2**31)))
        return {
            "name": "mixture", "n_rows": n_rows, "weights": weights, "means": centres,
            "spreads": np.linalg.cholesky(covariances),
        }  # fmt: skip

    def _gaussian(self, n_rows, means, deviations, pooled):
        dim = means.shape[1]
        trust = n_rows / (n_rows + self.rule.shrinkage * dim)
        own = np.cov(means.T).reshape(dim, dim) + np.diag((deviations**2).mean(0)) if n_rows > 1 else pooled
        mean = means.mean(0) * (1 - self.rule.mean_shrinkage * (1 - trust))
        covariance = trust * own + (1 - trust) * pooled + 1e-6 * np.eye(dim)
        return {
            "name": "gaussian", "n_rows": n_rows, "weights": np.ones(1), "means": mean[None],
            "spreads": np.linalg.cholesky(covariance)[None],
        }  # fmt: skip

    def sample(self, class_index, rng, temperature=1.0):
        """float32 (n, d): a latent for each of the classes asked for, int64 (n,).

        All noise is drawn for the whole block first, so a row's latent does not depend on its neighbours' classes.
        """
        dim = self.dim
        noise, choice = rng.standard_normal((len(class_index), dim)), rng.random((len(class_index), 3))
        z = np.empty((len(class_index), dim))
        for k in np.unique(class_index):
            rows = class_index == k
            z[rows] = _draw(self.classes[k], noise[rows] * temperature, choice[rows])
        return z.astype(np.float32)

    def means(self, class_index):
        """float32 (n, d): the mean of the density of each of the classes, int64 (n,)."""
        means = [np.average(density["means"], axis=0, weights=density.get("weights")) for density in self.classes]
        return np.stack(means).astype(np.float32)[class_index]

    @property
    def dim(self):
        return self.classes[0]["means"].shape[1]

    def report(self, labels):
        """DataFrame, one line per class: label, n_real, density, n_components."""
        lines = [
            {
                "label": label, "n_real": density["n_rows"], "density": density["name"],
                "n_components": len(density["weights"]) if "weights" in density else len(density["means"]),
            }
            for label, density in zip(labels, self.classes, strict=True)
        ]  # fmt: skip
        return pd.DataFrame(lines)

    def state(self):
        return {"method": self.method, "rule": asdict(self.rule), "classes": self.classes}

    @classmethod
    def from_state(cls, state):
        self = cls(state["method"], DensityRule(**state["rule"]))
        self.classes = state["classes"]
        return self


def exemplars(class_index, counts, rng):
    """int64 (m,), sorted: the rows that densities are fitted to, all of a class or 20,000 picked at random.

    `class_index` int64 (n,) are the classes of the rows, and `counts` int64 (n_classes,) how many each has.
    """
    if counts.max() <= MAX_EXEMPLARS:
        return np.arange(len(class_index))
    rows = [np.flatnonzero(class_index == k) for k in range(len(counts))]
    picked = [r if len(r) <= MAX_EXEMPLARS else rng.choice(r, MAX_EXEMPLARS, replace=False) for r in rows]
    return np.sort(np.concatenate(picked))


def _neighbourhood(name, n_rows, means, deviations, neighbours=0, spread=None):
    density = {"name": name, "n_rows": n_rows, "means": means, "deviations": deviations}
    if neighbours:
        search = NearestNeighbors(n_neighbors=neighbours).fit(means)
        density["neighbours"] = search.kneighbors(return_distance=False)
    if spread is not None:
        # Scott's rule for the width of the kernel; a class of 2 to 4 rows says too little about its own spread
        density["spread"] = spread * 0.5 * len(means) ** (-1 / (means.shape[1] + 4))
    return density


def _draw(density, noise, choice):
    if "weights" in density:
        edges = np.cumsum(density["weights"])
        part = np.searchsorted(edges / edges[-1], choice[:, 0], side="right").clip(0, len(edges) - 1)
        return density["means"][part] + np.einsum("nij,nj->ni", density["spreads"][part], noise)
    means, deviations = density["means"], density["deviations"]
    row = (choice[:, 0] * len(means)).astype(int)
    if "spread" in density:
        return means[row] + noise @ density["spread"].T
    neighbours = density["neighbours"]
    other = neighbours[row, (choice[:, 1] * neighbours.shape[1]).astype(int)]
    # up to the middle only: beyond it, rows at the edge would give their share away to the crowd they look at
    return means[row] + 0.5 * choice[:, 2:] * (means[other] - means[row]) + deviations[row] * noise


def _fit_mixture(latents, n_components, regularisation, seed):
    """Weights (m,), means (m, d) and covariances (m, d, d) of a Gaussian mixture, by expectation maximisation.

    As ``GaussianMixture.fit`` does it, from the same start; but where 30 steps are what is wanted, that warns of having
    stopped, and silencing a warning is nothing that threads can do side by side.
    """
    start = GaussianMixture(n_components, reg_covar=regularisation, max_iter=0, random_state=seed).fit(latents)
    weights, means, covariances = start.weights_, start.means_, start.covariances_
    likelihood = -np.inf
    for _ in range(MAX_ITERATIONS):
        joint = np.log(weights) + _log_densities(latents, means, covariances)
        total = logsumexp(joint, axis=1)
        share = np.exp(joint - total[:, None])
        mass = share.sum(0) + 10 * np.finfo(np.float64).eps
        weights, means = mass / mass.sum(), share.T @ latents / mass[:, None]
        for k, mean in enumerate(means):
            gap = latents - mean
            covariances[k] = (share[:, k] * gap.T) @ gap / mass[k] + regularisation * np.eye(len(mean))
        if abs(total.mean() - likelihood) < TOLERANCE:
            break
        likelihood = total.mean()
    return weights, means, covariances


def _log_densities(rows, means, covariances):
    """float64 (n, m): log density of every row (n, d) under every Gaussian."""
    out = np.empty((len(rows), len(means)))
    for k, (mean, spread) in enumerate(zip(means, np.linalg.cholesky(covariances), strict=True)):
        whiten = solve_triangular(spread, np.eye(len(mean)), lower=True).T
        out[:, k] = -0.5 * ((rows @ whiten - mean @ whiten) ** 2).sum(1) - np.log(np.diag(spread)).sum()
    return out - 0.5 * rows.shape[1] * math.log(2 * math.pi)
