"""What a report is made from, checked before anything is drawn or written."""

from dataclasses import dataclass

from sklearn.utils.validation import _num_samples

from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidTypeError
from augment_gen.evaluation.comparison import ComparisonResult
from augment_gen.evaluation.generation import GenerationResult


@dataclass(frozen=True)
class Findings:
    """What the user hands over; see `report`.

    Attributes
    ----------
    generation : GenerationResult or None
    comparison : ComparisonResult or None
    generator : object or None
    X_train, y_train : object or None
    show_real_rows : bool

    Raises
    ------
    InvalidParameterError, InvalidTypeError, InvalidDataError
        See `report`.
    """

    generation: GenerationResult | None
    comparison: ComparisonResult | None
    generator: object
    X_train: object
    y_train: object
    show_real_rows: bool

    def __post_init__(self):
        if self.generation is None and self.comparison is None:
            raise InvalidParameterError(
                "Give generation, what evaluate() returned, or comparison, what compare() returned, or both; got neither."
            )
        for name, kind, maker in (("generation", GenerationResult, "evaluate"), ("comparison", ComparisonResult, "compare")):
            given = getattr(self, name)
            if given is not None and not isinstance(given, kind):
                raise InvalidTypeError(
                    f"{name} must be what {maker}() returned, a {kind.__name__}; got {type(given).__name__}."
                )
        if isinstance(self.generator, type):
            raise InvalidTypeError(f"generator must be a fitted object; got the class {self.generator.__name__}.")
        self._check_rows()

    def _check_rows(self):
        if (self.X_train is None) != (self.y_train is None):
            raise InvalidDataError("Give both X_train and y_train, or neither.")
        if self.X_train is None:
            return
        n_rows, n_labels = _num_samples(self.X_train), _num_samples(self.y_train)
        if n_rows != n_labels:
            raise InvalidDataError(f"X_train has {n_rows} rows, but y_train {n_labels} labels.")
        if self.generation is not None and n_rows != self.generation.n_train:
            raise InvalidDataError(
                f"X_train has {n_rows} rows, but evaluate() was given {self.generation.n_train}. Give the same X_train."
            )

    @property
    def arm(self):
        """What the names of the arms begin with that the report is about, or None."""
        return None if self.generator is None else type(self.generator).__name__

    @property
    def X_shown(self):
        """The training rows where single ones may be shown, else None."""
        return self.X_train if self.show_real_rows else None
