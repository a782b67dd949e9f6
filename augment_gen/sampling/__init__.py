"""What is wanted of each class, and which of the drawn rows are kept."""

from augment_gen.sampling.criteria import ClassConsistent, NotACopy, WithinSupport

__all__ = ["ClassConsistent", "NotACopy", "WithinSupport"]
