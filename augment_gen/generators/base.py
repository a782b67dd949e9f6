"""The contract of every generator: fit, sample, fit_resample, save.

The public methods here check, plan and restore formats; a generator adds ``_fit_generator``.
"""

from abc import abstractmethod
from numbers import Integral

import numpy as np
import pandas as pd
import torch
from imblearn.over_sampling.base import BaseOverSampler
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_samples, check_is_fitted

from augment_gen.codecs import TableCodec, infer_codec, read
from augment_gen.codecs.dataset import is_dataset
from augment_gen.conditioning import ConditionEncoder
from augment_gen.errors import InvalidTypeError
from augment_gen.generators.checks import check_classes, check_temperature, check_X
from augment_gen.sampling.plan import rows_missing, rows_wanted
from augment_gen.sampling.rounds import LatestReport, Rounds, as_filters
from augment_gen.sampling.screening import Screening
from augment_gen.seeding import blocks, draw_seed, numpy_generator


class BaseGenerator(BaseOverSampler):
    """What all generators share; see `ConditionalVAE` for a description of the methods' parameters."""

    _parameter_constraints: dict = {
        **BaseOverSampler._parameter_constraints,
        "novelty_filter": ["boolean"],
        "min_class_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    # ---------------------------------------------------------------- public
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train on X (n rows or images) and y (n labels).

        Parameters
        ----------
        X : DataFrame, array, tensor, list of PIL images or dataset
            A table: DataFrame with columns of any kinds, or 2-D array-like (n, n_features); missing values are kept.
            Images: ndarray (n, H, W) or (n, H, W, C), or tensor (n, C, H, W) or (n, H, W); uint8, uint16 or float; or a
            list of PIL images of one size.
            A map-style torch dataset of (sample, label), torchvision's included: its samples are read once, as they are
            before its transform; above 2 GB they are kept in a temporary file rather than in memory.
        y : array-like (n,)
            Class labels: str, int, bool or categorical. At least two classes. None for a dataset, which has its own.

        Returns
        -------
        self

        Raises
        ------
        InvalidDataError
            X or y cannot be used; the message names the parameter and the remedy.
        ClassTooSmallError
            A class has fewer than ``min_class_size`` rows.
        TrainingDivergedError
            The loss became NaN or infinite.
        """
        self._fit(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_resample(self, X, y, *, filters=None, on_shortfall="warn"):
        """Train, then return X and y with synthetic rows behind, as many as ``sampling_strategy`` says.

        The original rows come first, untouched. ``synthetic_mask_`` tells which rows are synthetic.

        Parameters
        ----------
        X, y
            As for `fit`.
        filters, on_shortfall
            As for `sample`; filters that can be fitted are copied and fitted to X and y.

        Returns
        -------
        X_resampled, y_resampled
            In the containers and dtypes of X and y.
        """
        return self._fit_resample(X, y, filters, on_shortfall)

    def _fit_resample(self, X, y, filters=None, on_shortfall="warn"):
        if is_dataset(X):
            raise InvalidTypeError(
                "fit_resample takes arrays, frames or lists. For a dataset use augment_gen.pipelines.rebalance_dataset."
            )
        filters = as_filters(filters, on_shortfall, X, y)
        wanted = self._fit(X, y)
        X_new, y_new = self._sample(wanted, draw_seed(self._stream), 1.0, filters, on_shortfall)
        self.synthetic_mask_ = np.arange(_num_samples(X) + len(wanted)) >= _num_samples(X)
        X_all = self.codec_.concatenate(X, X_new)
        y_all = self.conditions_.concatenate(y, y_new)
        if isinstance(X_all, pd.DataFrame) and isinstance(y_all, (pd.Series, pd.DataFrame)):
            y_all.index = X_all.index
        return X_all, y_all

    def sample(self, n_samples=None, y=None, *, temperature=1.0, filters=None, on_shortfall="warn", random_state=None):
        """Draw synthetic rows of exactly the labels asked for.

        Parameters
        ----------
        n_samples : int or dict {label: int}, optional
            How many rows; a dict says how many of each label, in its order. An int without `y` draws classes as often as
            they were in training.
        y : label or array of labels, optional
            One label for all rows, or one label per wanted row, whose order is kept.
        temperature : float, default=1.0
            Above 0. Below 1 rows are more typical and less varied.
        filters : filter, callable or list of them, optional
            Beside the generator's own: `augment_gen.sampling.ClassConsistent`, `WithinSupport` and `NotACopy`, fitted on real
            rows, or functions (X, y) -> bool array. What one rejects is drawn again, under the same label, up to ten times;
            ``filter_report_`` says what they rejected in this thread's latest call.
        on_shortfall : {"warn", "raise"}, default="warn"
            What happens to rows that were rejected ten times: they are kept with a warning, or nothing is returned but an
            error. Never are there fewer rows than were asked for.
        random_state : None, int, RandomState or Generator
            None goes on in a stream that was seeded in `fit`, so that two calls differ, in threads too. A copy in another
            process goes on where the original stood, so copies draw the same rows: give each an int of its own. An int gives
            the same rows at every call.

        Returns
        -------
        X_new
            Rows in the container, columns, dtypes and range of the X that was fitted.
        y_new
            Their labels, in y's container and dtype: exactly what was asked for.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        InvalidRequestError, UnknownLabelError
            A request that cannot be met; the message says why.
        ShortfallError
            With ``on_shortfall="raise"``: some rows passed the filters in none of ten draws.
        """
        check_is_fitted(self)
        check_temperature(temperature)
        filters = as_filters(filters, on_shortfall)
        rng = self._stream if random_state is None else numpy_generator(random_state)
        seed = draw_seed(rng)
        wanted = rows_wanted(n_samples, y, self.conditions_, np.random.default_rng(seed))
        return self._sample(wanted, seed, float(temperature), filters, on_shortfall)

    def save(self, path):
        """Write the fitted generator to one ``.safetensors`` file, atomically; `augment_gen.load` reads it.

        The file holds no code. It does hold an encoding of training rows (latents, distinct values, and what the novelty
        filter compares with): share it with the people with whom you would share the data.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        ModelFileError
            A parameter or a label cannot be written as JSON.
        OSError
            The folder cannot be written; an older file at `path` is left as it was.
        """
        from augment_gen.generators.keeping import save

        check_is_fitted(self)
        save(self, path)

    # --------------------------------------------------------------- fitting
    @abstractmethod
    def _fit_generator(self, rows, class_index, rng):
        """Train on the codec's rows (dict of tensors) and their classes, int64 (n,).

        Sets ``decoder_``, a `FittedDecoder` that rows are drawn with, and ``history_``, a DataFrame of the curves.
        """

    def _fit(self, X, y):
        """Train; returns the classes of the rows that ``sampling_strategy`` asks for.

        Where that fails or is interrupted, the estimator is what it was before.
        """
        before = dict(vars(self))
        try:
            with torch.inference_mode(False), torch.enable_grad():  # whatever the caller's mode is
                return self._fit_anew(X, y)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _fit_anew(self, X, y):
        X, y = read(X, y)
        check_X(self, X, y)
        self.conditions_, class_index = ConditionEncoder().fit(y)
        check_classes(self.conditions_, self.min_class_size)
        wanted, self.sampling_strategy_ = rows_missing(self.sampling_strategy, class_index, self.conditions_)
        rng = numpy_generator(self.random_state)
        self._stream, self._reports = np.random.default_rng(draw_seed(rng)), LatestReport()
        self.codec_ = self._make_codec(infer_codec(X)).fit(X, class_index)
        self.classes_ = self.conditions_.classes_
        self._fit_generator(self.codec_.encode(X), class_index, rng)
        draw = lambda trial: self._draw_stage(trial, draw_seed(rng), 0, 1.0)
        screening = Screening(self.codec_, self.decoder_)
        self.screening_ = screening.fit(X, class_index, len(self.classes_), draw, self.novelty_filter)
        self.screening_.warn_of_collapse(self.classes_.tolist())
        self.latent_report_ = self._report()
        return wanted

    def _make_codec(self, codec):
        return codec(self.numeric) if codec is TableCodec else codec()

    def _report(self):
        """One line per class: what its rows are drawn from, and what the filters found."""
        return self.decoder_.density.report(self.classes_.tolist()).assign(**self.screening_.report())

    # -------------------------------------------------------------- sampling
    @property
    def filter_report_(self):
        return self._reports.get()

    def _sample(self, wanted, seed, temperature, filters, on_shortfall):
        draw = lambda class_index, stage: self._draw_stage(class_index, seed, stage, temperature)
        rounds = Rounds(draw, self.screening_, filters, self.codec_, self.conditions_, on_shortfall)
        X_new = rounds.run(wanted, seed)
        self._reports.put(rounds.report())
        index = X_new.index if isinstance(X_new, pd.DataFrame) else None
        return X_new, self.conditions_.decode(wanted, index)

    def _draw_stage(self, wanted, seed, stage, temperature):
        parts = []
        for rows, rng in blocks(max(1, len(wanted)), seed, stage, self.codec_.block_rows):
            outputs = self.decoder_.draw(wanted[rows], rng, temperature)
            parts.append(self.codec_.decode(outputs, wanted[rows], rng))
        return self.codec_.join(parts)
