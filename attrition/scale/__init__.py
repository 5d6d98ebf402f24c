"""The portfolio's model on more rows than memory holds: the same pipeline, made of sums over them."""

from attrition.scale.fitting import by_sums, fit
from attrition.scale.table import Table, WideTable

__all__ = ["Table", "WideTable", "by_sums", "fit"]
