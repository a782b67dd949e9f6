"""How good synthetic rows are, by `evaluate`, and whether they help a classifier, by `compare`."""

from augment_gen.evaluation.classifier_scores import SCORES
from augment_gen.evaluation.comparison import ComparisonResult
from augment_gen.evaluation.generation import GenerationResult, evaluate
from augment_gen.evaluation.image_classifier import ImageClassifier
from augment_gen.evaluation.metrics import ALL, METRICS, Metric
from augment_gen.evaluation.utility import compare

__all__ = [
    "ALL",
    "METRICS",
    "SCORES",
    "ComparisonResult",
    "GenerationResult",
    "ImageClassifier",
    "Metric",
    "compare",
    "evaluate",
]
