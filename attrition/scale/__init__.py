"""The portfolio's model on more rows than memory holds: the same pipeline, made of sums over them."""

from attrition.scale.fitting import fit
from attrition.scale.table import Table, WideTable

__all__ = ["Table", "WideTable", "fit"]
