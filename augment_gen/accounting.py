"""What a differentially private fit spends: from a budget to the noise it asks for, and a report of where it went.

Enters: a list of releases, each a Gaussian mechanism that saw every row or a Poisson sample of them. Leaves: the epsilon of
all of them together, from Opacus's accountant of Renyi differential privacy (Mironov 2017; Mironov, Talwar and Zhang 2019),
which is an upper bound. Neighbouring tables differ by one row more or less.
"""

import math
import warnings
from dataclasses import asdict, dataclass, replace

import pandas as pd
from scipy.optimize import brentq

from augment_gen.errors import InvalidParameterError, MissingExtraError

ORDERS = [1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 2, 2.25, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, *range(6, 12), *range(12, 24, 2)]
ORDERS += [24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 192, 256, 512]
PRECISION = 1e-3  # of a noise multiplier that is searched for, relative, and to the safe side
MOST_NOISE = 1e4


@dataclass(frozen=True)
class Release:
    """Something that is published of the training rows, with Gaussian noise on it.

    Attributes
    ----------
    name : str
    noise_multiplier : float
        Standard deviation of the noise over the most that one row changes the published numbers, in Euclidean norm.
    sampling_rate : float
        Probability with which each row, independently of the others, takes part in a step.
    n_steps : int
    epsilon : float
        What this release would spend on its own, at the report's delta.
    """

    name: str
    noise_multiplier: float
    sampling_rate: float
    n_steps: int
    epsilon: float = float("nan")


@dataclass(frozen=True)
class PrivacyReport:
    """What a private fit guarantees, how, and on which assumptions.

    Attributes
    ----------
    epsilon, delta : float
        The fit is (epsilon, delta)-differentially private for one row more or less, for all releases together.
    clip : float
        Largest norm of one row's gradient.
    releases : tuple of Release
    public : tuple of str
        What is taken to be known already, and is not protected.
    """

    epsilon: float
    delta: float
    clip: float
    releases: tuple[Release, ...]
    public: tuple[str, ...]

    def to_frame(self):
        """DataFrame: one line per release, and one for all together."""
        together = {"name": "all together", "epsilon": self.epsilon}
        return pd.DataFrame([*map(asdict, self.releases), together])

    def state(self):
        """JSON values; `from_state` is its inverse."""
        return asdict(self)

    @classmethod
    def from_state(cls, state):
        releases = tuple(Release(**one) for one in state["releases"])
        return cls(**{**state, "releases": releases, "public": tuple(state["public"])})


def spent(releases, delta):
    """The epsilon of the releases together, at `delta`.

    Raises
    ------
    MissingExtraError
        Opacus is not installed.
    """
    accountant = _accountant()
    accountant.history = [(one.noise_multiplier, one.sampling_rate, one.n_steps) for one in releases]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the .* alpha")  # then the bound is loose, and still one
        return float(accountant.get_epsilon(delta, alphas=ORDERS))


def with_least_noise(release, others, epsilon, delta):
    """`release` with the least noise multiplier at which it and the `others` together spend at most `epsilon`.

    Raises
    ------
    InvalidParameterError
        There is none.
    MissingExtraError
        Opacus is not installed.
    """
    excess = lambda noise: math.log(spent([*others, replace(release, noise_multiplier=noise)], delta) / epsilon)
    low, high = 0.5, 0.5
    while excess(high) > 0:
        low, high = high, 2 * high
        if high > MOST_NOISE:
            raise InvalidParameterError(
                f"No noise keeps the {release.name} within epsilon={epsilon:g} at delta={delta:g}. Allow a larger epsilon."
            )
    while low == high or excess(low) <= 0:
        low, high = low / 2, low
    noise = brentq(excess, low, high, rtol=PRECISION) * (1 + PRECISION)
    while excess(noise) > 0:
        noise *= 1 + PRECISION
    return replace(release, noise_multiplier=noise)


def with_epsilons(releases, delta):
    """The releases, each with what it would spend on its own."""
    return tuple(replace(one, epsilon=spent([one], delta)) for one in releases)


def _accountant():
    try:
        with warnings.catch_warnings():  # importing it appends to the filters
            from opacus.accountants import RDPAccountant
    except ImportError as error:
        raise MissingExtraError('privacy= needs Opacus: pip install "augment-gen[privacy]".') from error
    return RDPAccountant()
