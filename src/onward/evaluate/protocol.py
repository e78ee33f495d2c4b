"""Run a protocol over any recommender."""

from onward.evaluate.validate import validation_metrics

__all__ = ["validation_metrics"]
