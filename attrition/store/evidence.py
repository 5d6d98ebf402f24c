# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Which rows count as evidence of a model, in which data version, with the prediction that was made; and which train.

A unit is one client in one label window: it counts once, when its window has closed, unless the client was called.
What an outcome says never has a say in whether it counts.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition.params import Portfolio
from attrition.store import delta
from attrition.store.clients import SCORES, Clients
from attrition.store.engine import connect, listed, literal, quoted
from attrition.store.frames import plain, shaped

__all__ = ["AGAIN", "CALLED", "OPEN", "Counted", "counted", "trainable"]

CALLED, AGAIN, OPEN = "called", "came again", "window still open"

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """Rows that count, and why others with an outcome do not.

    Attributes:
        rows: as by `Clients.frame`, with ``_counted`` (int64, the data version in which the row counts), ``_key``
            (text, no two the same in one such version: id and date, or the row's hash), ``_model`` (text or None) and
            ``_probability`` (float64, NaN): the last prediction that was made of this client and day before the row
            counted. In order of ``_counted``, then ``_row``.
        left_out: by reason, how many rows do not count; those whose window is open may do so later.
    """

    rows: pd.DataFrame
    left_out: dict[str, int]


def counted(clients: Clients, *, after_version: int, scores: Path | None = None) -> Counted:
    """Rows that count in a data version beyond ``after_version`` and up to that of ``clients``.

    Version by version or all at once, the rows are the same. Without an id each row with an outcome is a unit; with an
    id alone each client is, once; with an as-of date each client and day. Of a unit the first row with an outcome
    counts, in the version that it came with, or with a horizon in the first whose clock has reached the end of its
    window; the clock is the latest as-of date of all rows so far. A row that was treated does not count, nor one whose
    window overlaps that of a row of the same client that counts already.

    Args:
        clients: the rows of all versions up to now.
        after_version: the data version up to which all has been decided; 0: none.
        scores: the folder of the table of predictions; None, or no table there: no row has one.

    Raises:
        StoreError: the table of predictions has other columns.
    """
    clock, undecided = _Clock(clients), _labelled(clients.portfolio)
    if (reached := clock.at(after_version)) is not None:  # windows that were open then
        undecided += f" AND (_version > $after OR {_day(clients.portfolio)} > {reached - clock.horizon})"
    else:
        undecided += " AND _version > $after"
    units = _decided(_units(clients, undecided, after_version), clock)
    units = units[units["_decided"] > after_version]
    rows = clients.sql(
        f"SELECT {shaped(clients.portfolio, None)}, {_key(clients.portfolio)} AS _key FROM clients "
        f"WHERE {undecided} ORDER BY _row",
        after=after_version,
    )
    good = units.loc[units["_why"] == "", ["_row", "_decided"]].rename(columns={"_decided": "_counted"})
    rows = rows.merge(good, on="_row").sort_values(["_counted", "_row"], ignore_index=True)
    why = units.loc[units["_why"] != "", "_why"].value_counts()
    rows = _with_predictions(clients.portfolio, rows, scores)
    return Counted(rows, {reason: int(why[reason]) for reason in (CALLED, AGAIN, OPEN) if reason in why})


def trainable(clients: Clients, *, to_row: int | None = None) -> pd.DataFrame:
    """Rows to learn from, as by `Clients.frame`: of each unit the newest with an outcome, up to row ``to_row``.

    A unit is what it is for `counted`. Rows that were treated, and those whose window is open as of the version of
    ``clients``, are left out.
    """
    portfolio, clock = clients.portfolio, _Clock(clients)
    newest = f"SELECT max(_row) AS _row FROM clients WHERE {_labelled(portfolio)}"
    newest += "" if to_row is None else f" AND _row <= {to_row:d}"
    where = [f"{quoted(portfolio.treated)} IS NOT TRUE"] if portfolio.treated else []
    if (now := clock.at(clients.version)) is not None:
        where.append(f"{_day(portfolio)} <= {now - clock.horizon}")
    return clients.sql(
        f"SELECT {shaped(portfolio, None)} FROM clients "
        f"SEMI JOIN ({newest} GROUP BY {listed(_unit(portfolio)) or '_row'}) USING (_row) "
        f"WHERE {' AND '.join(where or ['true'])} ORDER BY _row"
    )


class _Clock:
    """The latest as-of date of all rows up to each version, in days since 1970; it stands still without a horizon."""

    def __init__(self, clients: Clients):
        self.horizon, self.never = clients.portfolio.horizon or 0, clients.version + 1
        some = "true" if self.horizon else "false"
        latest = f"SELECT _version, max({_day(clients.portfolio)}) AS day FROM clients WHERE {some} GROUP BY _version"
        found = clients.sql(f"{latest} ORDER BY _version")
        self._versions: Ints = found["_version"].to_numpy(np.int64)
        self._days: Ints = found["day"].cummax().to_numpy(np.int64)

    def at(self, version: int) -> int | None:
        """Its day in a version; None before the first row, or without a horizon."""
        past = self._days[self._versions <= version]
        return int(past[-1]) if past.size else None

    def closed(self, days: Ints, versions: Ints) -> Ints:
        """For rows of these days and versions, the first version in which their window has closed, or `never`."""
        if not self.horizon:
            return versions
        reached = np.append(self._versions, self.never)[np.searchsorted(self._days, days + self.horizon)]
        return np.asarray(np.maximum(versions, reached))


def _units(clients: Clients, undecided: str, after_version: int) -> pd.DataFrame:
    """All rows with an outcome, by ``_row``, of the units that ``undecided`` rows belong to, or of their clients.

    ``_row``, ``_version``, ``_id`` (text), ``_day`` (days since 1970, 0 without a date), ``_treated``, ``_again``: a
    row of the same unit came before.
    """
    portfolio = clients.portfolio
    # Windows of a client may overlap: with a horizon all of its rows are looked up, not those of that day alone.
    keys = [portfolio.id] if portfolio.id and portfolio.horizon else _unit(portfolio)
    among = f"SEMI JOIN (SELECT {listed(keys)} FROM clients WHERE {undecided}) USING ({listed(keys)})" if keys else ""
    units = clients.sql(
        f"SELECT _row, _version, {_text(portfolio)} AS _id, CAST({_day(portfolio)} AS BIGINT) AS _day, "
        f"{_treated(portfolio)} AS _treated FROM clients {among} "
        f"WHERE {_labelled(portfolio) if keys else undecided} ORDER BY _row",
        after=after_version,
    )
    return units.assign(_again=units.duplicated(["_id", "_day"]) if keys else False)


def _decided(units: pd.DataFrame, clock: _Clock) -> pd.DataFrame:
    """With ``_why`` a row does not count ("": it does), and ``_decided``, the version in which that was known."""
    came, closed = units["_version"].to_numpy(), clock.closed(units["_day"].to_numpy(), units["_version"].to_numpy())
    at_once = (units["_treated"] | units["_again"]).to_numpy(bool)
    waiting = ~at_once & (closed == clock.never)
    units = units.assign(_decided=np.where(at_once, came, closed), _why="")
    units.loc[_overlaps(units[~at_once & ~waiting], clock.horizon), "_why"] = AGAIN
    units.loc[waiting, "_why"] = OPEN
    units.loc[units["_again"], "_why"] = AGAIN
    units.loc[units["_treated"], "_why"] = CALLED
    return units


def _overlaps(units: pd.DataFrame, horizon: int) -> list[int]:
    """Where, in the order in which rows count, one comes whose window overlaps that of an earlier one that counts."""
    several = units[units.duplicated("_id", keep=False)].sort_values(["_decided", "_day", "_row"])
    counts: dict[str, list[int]] = {}  # the days of each client's rows that count, in order
    found = []
    for place, client, day in zip(several.index, several["_id"], several["_day"], strict=True):
        days = counts.setdefault(client, [])
        at = bisect_left(days, day)
        if any(abs(day - near) < horizon for near in days[max(at - 1, 0) : at + 1]):
            found.append(place)
        else:
            days.insert(at, day)
    return found


def _with_predictions(portfolio: Portfolio, rows: pd.DataFrame, scores: Path | None) -> pd.DataFrame:
    """With the last prediction of each row's client and day that was made before the version in which it counts."""
    files = delta.files(scores, delta.open_table(scores, SCORES)) if scores else []
    if not files or portfolio.id is None or rows.empty:
        return plain(rows.assign(_model=pd.Series(None, rows.index, dtype=object), _probability=np.nan))
    day = rows[portfolio.as_of] if portfolio.as_of else pd.Series(pd.NaT, rows.index)
    wanted = rows[["_row", "_counted"]].assign(id=rows[portfolio.id], day=day)
    with connect() as connection:
        connection.register("wanted", wanted)
        table = f"read_parquet([{', '.join(map(literal, files))}], hive_partitioning = false)"
        found = connection.execute(
            "SELECT wanted._row, model_version AS _model, probability AS _probability "
            f"FROM wanted JOIN {table} AS made "
            "ON made.id = wanted.id AND made.as_of IS NOT DISTINCT FROM CAST(day AS DATE) AND data_version < _counted "
            "QUALIFY row_number() OVER "
            "(PARTITION BY wanted._row ORDER BY data_version DESC, run DESC, made._row DESC) = 1"
        ).df()
    return plain(rows.merge(found.astype({"_model": object}), on="_row", how="left"))


def _labelled(portfolio: Portfolio) -> str:
    return f"{quoted(portfolio.target.column)} IS NOT NULL"


def _unit(portfolio: Portfolio) -> list[str]:
    """The columns that name a unit; none: each row is one."""
    if portfolio.id is None:
        return []
    return list(dict.fromkeys([portfolio.id, portfolio.as_of or portfolio.id]))


def _text(portfolio: Portfolio) -> str:
    """SQL for the client as text, as in the table of predictions."""
    return f"CAST({quoted(portfolio.id)} AS VARCHAR)" if portfolio.id else "''"


def _key(portfolio: Portfolio) -> str:
    if portfolio.id is None:
        return "CAST(_hash AS VARCHAR)"
    return (
        f"{_text(portfolio)} || ' ' || CAST({quoted(portfolio.as_of)} AS VARCHAR)"
        if portfolio.as_of
        else _text(portfolio)
    )


def _day(portfolio: Portfolio) -> str:
    return f"({quoted(portfolio.as_of)} - DATE '1970-01-01')" if portfolio.as_of else "0"


def _treated(portfolio: Portfolio) -> str:
    return f"coalesce({quoted(portfolio.treated)}, false)" if portfolio.treated else "false"
