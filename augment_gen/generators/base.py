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

from augment_gen.checkpoints import describe_fit
from augment_gen.codecs import TableCodec, infer_codec, read
from augment_gen.codecs.dataset import is_dataset
from augment_gen.conditioning import ConditionEncoder
from augment_gen.course import Course
from augment_gen.distributed import current_share
from augment_gen.errors import InvalidRequestError, InvalidTypeError
from augment_gen.generators.checks import check_allow_copies, check_checkpoint_dir, check_classes, check_temperature, check_X
from augment_gen.interruption import Interruption, is_direct_call
from augment_gen.sampling.plan import rows_missing, rows_wanted
from augment_gen.sampling.rounds import LatestReport, Rounds, as_filters
from augment_gen.sampling.screening import Screening
from augment_gen.sampling.stretches import rebatched
from augment_gen.seeding import blocks, draw_seed, numpy_generator, stretches

STRETCH_BLOCKS = 16  # blocks of the codec that go through the filters together; bounds the memory that drawing takes


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
    def fit(self, X, y=None, *, checkpoint_dir=None):
        """Train on X (n rows or images) and y (n labels).

        The first Ctrl-C ends the training with what it has learned so far, as soon as that is of any use, and a warning;
        before that, and at the second, nothing is changed and KeyboardInterrupt raised. That is also so wherever `fit` is not
        called by your own code: within cross-validation, a comparison or `fit_resample`, Ctrl-C stops the whole.

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
        checkpoint_dir : str or path-like, optional
            A folder, of this fit alone, in which to keep the last two checkpoints: one every half minute (or less often, so
            that they take at most 3 % of the time), and one whenever a network is finished. The same call after a crash goes
            on from there, and ends with the same generator, bit for bit on the same machine's CPU; also where
            ``random_state`` is None, since the seed is kept. The checkpoints of a finished fit stay, so that nothing is lost
            before it is saved: the same call then returns at once with the same generator. Delete the folder to train anew.
            They hold weights learned from X and no code.

        Notes
        -----
        Memory beside X grows with the rows by at most twice what they take encoded: in a table 2 bytes a cell, and 8 more
        where its column is continuous; in images 4 bytes a value, but none for uint8, which are read where they lie.

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
            The loss became NaN or infinite, and once more at a third of the learning rate.
        CheckpointError
            `checkpoint_dir` holds checkpoints of other data, parameters or library versions, which the message names; or
            nothing can be written there. What is in it is left as it was.

        Warns
        -----
        TrainingInterruptedWarning
            Ctrl-C ended the training. As an error (``warnings.simplefilter``) it leaves the generator as it was.
        TrainingWarning
            The training diverged and was started again, or a checkpoint is damaged or could not be written.
        """
        self._fit(X, y, checkpoint_dir, Interruption(listens=is_direct_call() and current_share().n_processes == 1))
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_resample(self, X, y, *, filters=None, on_shortfall="warn", allow_copies=False, checkpoint_dir=None):
        """Train, then return X and y with synthetic rows behind, as many as ``sampling_strategy`` says.

        The original rows come first, untouched. ``synthetic_mask_`` tells which rows are synthetic.

        Parameters
        ----------
        X, y
            As for `fit`.
        filters, on_shortfall, allow_copies
            As for `sample`; filters that can be fitted are copied and fitted to X and y.
        checkpoint_dir
            As for `fit`.

        Returns
        -------
        X_resampled, y_resampled
            In the containers and dtypes of X and y.
        """
        return self._fit_resample(X, y, filters, on_shortfall, allow_copies, checkpoint_dir)

    def _fit_resample(self, X, y, filters=None, on_shortfall="warn", allow_copies=False, checkpoint_dir=None):
        if is_dataset(X):
            raise InvalidTypeError(
                "fit_resample takes arrays, frames or lists. For a dataset use augment_gen.pipelines.rebalance_dataset."
            )
        check_allow_copies(allow_copies)
        filters = as_filters(filters, on_shortfall, X, y)
        wanted = self._fit(X, y, checkpoint_dir)
        X_new, y_new = self._sample(wanted, draw_seed(self._stream), 1.0, filters, on_shortfall, allow_copies)
        self.synthetic_mask_ = np.arange(_num_samples(X) + len(wanted)) >= _num_samples(X)
        X_all = self.codec_.concatenate(X, X_new)
        y_all = self.conditions_.concatenate(y, y_new)
        if isinstance(X_all, pd.DataFrame) and isinstance(y_all, (pd.Series, pd.DataFrame)):
            y_all.index = X_all.index
        return X_all, y_all

    def sample(
        self,
        n_samples=None,
        y=None,
        *,
        temperature=1.0,
        filters=None,
        on_shortfall="warn",
        allow_copies=False,
        random_state=None,
    ):
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
        allow_copies : bool, default=False
            Whether a row may equal a training row, of any class, in every cell or pixel as they are written. Those are
            drawn again, up to ten times more than others, and kept, with a warning, only where all of these draws were
            copies. Not held against: rows that several training rows share, and tables without a continuous column, where
            any row is a combination that may occur again. ``filter_report_`` counts them.
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
        return self._sample(*self._request(n_samples, y, temperature, filters, on_shortfall, allow_copies, random_state))

    def sample_iter(
        self,
        n_samples=None,
        y=None,
        *,
        batch_rows=65_536,
        temperature=1.0,
        filters=None,
        on_shortfall="warn",
        allow_copies=False,
        random_state=None,
    ):
        """Draw synthetic rows batch by batch, so that any number of them fits into memory.

        The batches, put together, are what `sample` returns for the same ``random_state``, whatever their size. Memory: two
        batches, one stretch of rows that are filtered together (16 blocks of 4,096 rows, or of as many images as make
        64 MB of float32), and 8 bytes for each row asked for, which hold its class.

        Parameters
        ----------
        n_samples, y, temperature, filters, on_shortfall, allow_copies, random_state
            As for `sample`.
        batch_rows : int, default=65,536
            Rows of a batch; the last one may have fewer.

        Returns
        -------
        iterator of (X, y)
            In the containers and dtypes of `sample`; the index of a DataFrame goes on from batch to batch. No batch comes
            where no rows are asked for. ``filter_report_`` is of the whole request, once the last batch is out.

        Raises
        ------
        As `sample` does: for the request at once, a `ShortfallError` when the rows concerned would come out.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from augment_gen import ConditionalVAE
        >>> gen = ConditionalVAE(max_steps=20, random_state=0).fit(*load_iris(return_X_y=True))
        >>> [len(X) for X, y in gen.sample_iter(1000, y=2, batch_rows=400)]
        [400, 400, 200]
        """
        if isinstance(batch_rows, bool) or not isinstance(batch_rows, Integral) or batch_rows < 1:
            raise InvalidRequestError(f"batch_rows must be an integer of at least 1, the rows of a batch; got {batch_rows!r}.")
        wanted, *settings = self._request(n_samples, y, temperature, filters, on_shortfall, allow_copies, random_state)
        return self._batches(wanted, int(batch_rows), settings)

    def save(self, path):
        """Write the fitted generator to one ``.safetensors`` file, atomically; `augment_gen.load` reads it.

        The file holds no code. It does hold an encoding of training rows (latents, distinct values, what the novelty filter
        compares with, and 8 bytes of each row, by which a guessed row is recognised): share it with the people with whom you
        would share the data. A fit with ``privacy`` leaves none of that.

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
    def _fit_generator(self, rows, class_index, rng, course):
        """Train on the codec's rows (dict of tensors) and their classes, int64 (n,); `course` goes into every `Plan`.

        Sets ``decoder_``, a `FittedDecoder` that rows are drawn with, and ``history_``, a DataFrame of the curves.
        """

    def _fit(self, X, y, checkpoint_dir=None, interruption=None):
        """Train; returns the classes of the rows that ``sampling_strategy`` asks for.

        Where that fails or is interrupted too early, the estimator is what it was before.
        """
        before, course = dict(vars(self)), Course(interruption)
        try:
            # the modes are as before behind it, whatever interrupts; within, a network learns whatever the caller's modes are
            with torch.inference_mode(False), torch.enable_grad(), course.interruption:
                wanted = self._fit_anew(X, y, checkpoint_dir, course)
            course.warn_if_interrupted(checkpoint_dir)
            return wanted
        except BaseException:
            self.__dict__ = before  # in one go, whatever interrupts
            raise

    def _fit_anew(self, X, y, checkpoint_dir, course):
        X, y = read(X, y)
        check_X(self, X, y)
        self.conditions_, class_index = ConditionEncoder().fit(y)
        check_classes(self.conditions_, self.min_class_size)
        wanted, self.sampling_strategy_ = rows_missing(self.sampling_strategy, class_index, self.conditions_)
        share = current_share()
        rng = share.seeded(numpy_generator(self.random_state))
        if checkpoint_dir is not None:
            check_checkpoint_dir(checkpoint_dir)
            share.refuse_checkpoints()
            course.keep_in(checkpoint_dir, describe_fit(self, X, class_index, self.conditions_.classes_), rng)
        self._stream, self._reports = np.random.default_rng(draw_seed(rng)), LatestReport()
        self.codec_ = self._make_codec(infer_codec(X)).fit(X, class_index)
        self.classes_ = self.conditions_.classes_
        rows = self.codec_.encode(X)
        share.check_same_data([torch.from_numpy(class_index), *rows.values()])
        self._fit_generator(rows, class_index, rng, course)
        draw = lambda trial: self._draw_stage(trial, draw_seed(rng), 0, 1.0)
        screening = Screening(self.codec_, self.decoder_)
        self.screening_ = screening.fit(X, class_index, len(self.classes_), draw, self.novelty_filter is not False)
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
        return getattr(self, "_reports", LatestReport()).get()

    def _request(self, n_samples, y, temperature, filters, on_shortfall, allow_copies, random_state):
        """What `_sample` takes, checked: the classes wanted, int64 (n,), a seed, and the settings."""
        check_is_fitted(self)
        check_temperature(temperature)
        check_allow_copies(allow_copies)
        filters = as_filters(filters, on_shortfall)
        rng = self._stream if random_state is None else numpy_generator(random_state)
        seed = draw_seed(rng)
        wanted = rows_wanted(n_samples, y, self.conditions_, np.random.default_rng(seed))
        return wanted, seed, float(temperature), filters, on_shortfall, allow_copies

    def _sample(self, wanted, *settings):
        X_new = self.codec_.join(list(self._drawn(wanted, *settings)))
        index = X_new.index if isinstance(X_new, pd.DataFrame) else None
        return X_new, self.conditions_.decode(wanted, index)

    def _batches(self, wanted, batch_rows, settings):
        start = 0
        for X_new in rebatched(self._drawn(wanted, *settings), self.codec_, batch_rows):
            index, stop = None, start + _num_samples(X_new)
            if isinstance(X_new, pd.DataFrame):
                X_new.index = index = pd.RangeIndex(start, stop)
            yield X_new, self.conditions_.decode(wanted[start:stop], index)
            start = stop

    def _drawn(self, wanted, seed, temperature, filters, on_shortfall, allow_copies):
        """Yields X of the rows of the classes `wanted`, stretch by stretch."""
        rounds = Rounds(None, self.screening_, filters, self.codec_, self.conditions_, on_shortfall, allow_copies)
        for rows, seed_here in stretches(len(wanted), seed, STRETCH_BLOCKS * self.codec_.block_rows):
            rounds.draw = lambda class_index, stage, mine=seed_here: self._draw_stage(class_index, mine, stage, temperature)
            yield rounds.run(wanted[rows], seed_here)
        self._reports.put(rounds.report())

    def _draw_stage(self, wanted, seed, stage, temperature):
        parts = []
        for rows, rng in blocks(max(1, len(wanted)), seed, stage, self.codec_.block_rows):
            outputs = self.decoder_.draw(wanted[rows], rng, temperature)
            parts.append(self.codec_.decode(outputs, wanted[rows], rng))
        return self.codec_.join(parts)
