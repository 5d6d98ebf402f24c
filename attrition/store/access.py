"""The client table for whoever works with it: rows of any version as a frame, and questions in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from attrition import params
from attrition.home import Home
from attrition.store.clients import Clients

__all__ = ["Store"]


class Store:
    """The clients of one portfolio, at any version."""

    def __init__(self, portfolio: str, home: Home | None = None):
        """Name a portfolio of a home; None: the one that ``ATTRITION_HOME`` names.

        Raises:
            ParamsError: there is no such portfolio, or its YAML cannot be used.
        """
        self._place = (home or Home.here()).place(portfolio)
        self._portfolio = params.load(self._place.params)

    def at(self, version: int | None = None) -> Clients:
        """The table as of a version; None: the newest.

        Raises:
            StoreError: there is no such version yet, or the portfolio's columns are not the table's.
        """
        return Clients(self._portfolio, self._place.clients, version)

    def load(self, version: int | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows as of a version, such as the ``data_version`` of a model's manifest; see `Clients.frame`.

        Raises:
            StoreError: there is no such version yet, or a column is not the portfolio's.
        """
        return self.at(version).frame(columns)

    def sql(self, query: str, version: int | None = None, **parameters: Any) -> pd.DataFrame:
        """What DuckDB answers to one SELECT of the table ``clients`` as of a version; see `Clients.sql`.

        Raises:
            StoreError: it is not exactly one SELECT, or DuckDB refuses it.
        """
        return self.at(version).sql(query, **parameters)
