"""The report: what `evaluate` and `compare` found, as one HTML file that people can read."""

from augment_gen.report.page import report
from augment_gen.report.whole import full_report

__all__ = ["full_report", "report"]
