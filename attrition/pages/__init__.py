"""HTML pages, each one file that works from a disk: no script, nothing from elsewhere, nothing trusted.

A page shows what was recorded and computes nothing; its twin holds the same as JSON. Whatever a notebook or a run holds
reaches a page escaped, or cleaned down to a short list of tags.
"""

from __future__ import annotations

from attrition.pages.clients import clients, lists
from attrition.pages.compare import compare
from attrition.pages.frame import Page
from attrition.pages.index import home, runs
from attrition.pages.model import model, models
from attrition.pages.notebook import NotebookError, failed_cell, notebook
from attrition.pages.portfolio import portfolio
from attrition.pages.run import run
from attrition.pages.urls import Urls

__all__ = [
    "NotebookError",
    "Page",
    "Urls",
    "clients",
    "compare",
    "failed_cell",
    "home",
    "lists",
    "model",
    "models",
    "notebook",
    "portfolio",
    "run",
    "runs",
]
