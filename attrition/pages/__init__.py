"""HTML pages, each one file that works from a disk: no script, nothing from elsewhere, nothing trusted.

A page shows what was recorded and computes nothing. Whatever a notebook or a run holds reaches a
page escaped, or cleaned down to a short list of tags.
"""

from __future__ import annotations

from attrition.pages.index import home, runs
from attrition.pages.notebook import NotebookError, notebook
from attrition.pages.run import run

__all__ = ["NotebookError", "home", "notebook", "run", "runs"]
