"""Exceptions and warnings of the package. Each error is also the built-in exception that callers would catch anyway."""


class AugmentGenError(Exception):
    """Base class of every error that the package raises on purpose."""


class InvalidDataError(AugmentGenError, ValueError):
    """X or y cannot be used as given."""


class InvalidTypeError(AugmentGenError, TypeError):
    """X, y or a cell of a column is of a type that cannot be used."""


class InvalidParameterError(AugmentGenError, ValueError):
    """A constructor parameter has a value that does not work here."""


class ClassTooSmallError(InvalidDataError):
    """A class has fewer rows than ``min_class_size``."""


class InvalidRequestError(AugmentGenError, ValueError):
    """``sample`` was asked for something that cannot be drawn."""


class UnknownLabelError(InvalidRequestError):
    """``sample`` was asked for a label that was not seen in ``fit``."""


class ShortfallError(InvalidRequestError):
    """Some of the rows asked for passed the filters in none of the draws."""


class TrainingDivergedError(AugmentGenError, RuntimeError):
    """The loss became NaN or infinite."""


class CheckpointError(AugmentGenError, ValueError):
    """Checkpoints in a folder are of another fit, or none can be written there."""


class MissingExtraError(AugmentGenError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class ModelFileError(AugmentGenError, ValueError):
    """A model file is damaged, foreign, too new, or cannot be written."""


class UnreadableImageError(InvalidDataError):
    """An image file is damaged, or of a kind that would lose something in reading."""


class OutputExistsError(AugmentGenError, FileExistsError):
    """Something is already where a file or folder should be written."""


class SmallClassWarning(UserWarning):
    """A class is so small that its synthetic rows stay close to the real ones."""


class NoveltyWarning(UserWarning):
    """The novelty filter ran out of rounds, so some rows lie closer to training rows than intended."""


class ShortfallWarning(UserWarning):
    """Some rows passed the filters in none of the draws, and were kept as they are."""


class IdentifierColumnWarning(UserWarning):
    """A text column has another value in nearly every row, so its synthetic values are copies."""


class TrainingWarning(UserWarning):
    """Training went wrong, and was mended or stopped early."""


class TrainingInterruptedWarning(TrainingWarning):
    """Ctrl-C ended a training early; what it had learned was kept."""


class CollapseWarning(UserWarning):
    """The synthetic rows of a class vary much less than the real ones."""


class SkippedFilesWarning(UserWarning):
    """Files of a folder were left out: unreadable images, or what is no image."""


class EvaluationWarning(UserWarning):
    """An evaluation is less certain, or less complete, than it looks."""
