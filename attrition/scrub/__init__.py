"""One client taken out of files: tables, lists, drops, notebooks, logs. Each function may be called again."""

from __future__ import annotations

from attrition.scrub.files import drops, logs, run
from attrition.scrub.rows import Damaged, count, lists, tables, version
from attrition.scrub.whom import Whom

__all__ = ["Damaged", "Whom", "count", "drops", "lists", "logs", "run", "tables", "version"]
