# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""Which rows count as evidence of a model, in which data version, with the prediction that was made; and which train.

A unit is one client in one label window: it counts once, when its window has closed, unless the client was called.
What an outcome says never has a say in whether it counts.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition.params import Portfolio
from attrition.store import delta
from attrition.store.clients import SCORES, Clients
from attrition.store.engine import connect, listed, quoted, rows_in
from attrition.store.frames import plain, shaped

__all__ = ["AGAIN", "CALLED", "LISTED", "OPEN", "Counted", "counted", "held_out", "trainable"]

CALLED, AGAIN, OPEN, LISTED = "called", "came again", "window still open", "on the list to be called"

NO_DAY = -(10**6)
"""Before any date."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """Rows that count, and why others with an outcome do not.

    Attributes:
        rows: as by `Clients.frame`, with ``_counted`` (int64, the data version in which the row counts), ``_key``
            (text, no two the same in one such version: id and date, or the row's hash), ``_model`` (text or None) and
            ``_probability`` (float64, NaN): the last prediction that was made of this client and day before the row
            counted. In order of ``_counted``, then of a hash of the key: outcomes have a say in what comes first.
        left_out: by reason, how many rows do not count; those whose window is open may do so later.
    """

    rows: pd.DataFrame
    left_out: dict[str, int]


def counted(clients: Clients, *, after_version: int, scores: Path | None = None, among: str = "") -> Counted:
    """Rows that count in a data version beyond ``after_version`` and up to that of ``clients``.

    Version by version or all at once, the rows are the same. Without an id each row with an outcome is a unit; with an
    id alone each client is, once; with an as-of date each client and day. A unit counts in the version of its first
    outcome, or with a horizon in the first whose clock has reached the end of its window; the clock is the latest as-of
    date of all rows before that version. What counts is the last word on it at that moment; what is said later is
    learnt from (`trainable`) and not counted again. A unit that was treated by then does not count, nor one whose
    window overlaps that of an earlier one of the same client.

    Where calls are recorded, neither does a client whom the model's last word had put on the list (a risk at or above
    the threshold), unless he is held out: who leaves before he can be called would count, who stays would be called.

    Args:
        clients: the rows of all versions up to now.
        after_version: the data version up to which all has been decided; 0: none.
        scores: the folder of the table of predictions; None, or no table there: no row has one.
        among: SQL of ``_key`` for which units are asked for; empty: all.

    Raises:
        StoreError: the table of predictions has other columns.
    """
    clock, undecided = _Clock(clients), _labelled(clients.portfolio)
    if (reached := clock.at(after_version)) is not None:  # windows that were open then
        undecided += f" AND (_version > $after OR {_day(clients.portfolio)} > {reached - clock.horizon})"
    else:
        undecided += " AND _version > $after"
    if among:
        undecided += f" AND {among.replace('_key', f'({_key(clients.portfolio)})')}"
    units = _decided(_units(clients, undecided, after_version), clock)
    units = units[units["_decided"] > after_version]
    key = _key(clients.portfolio)
    rows = clients.sql(
        f"SELECT {shaped(clients.portfolio, None)}, {key} AS _key, {_hashed(key)} AS _hashed FROM clients "
        f"WHERE {undecided} ORDER BY _row",
        after=after_version,
    )
    good = units.loc[units["_why"] == "", ["_row", "_decided"]].rename(columns={"_decided": "_counted"})
    rows = _with_predictions(clients.portfolio, _in_order(rows.merge(good, on="_row")), scores)
    listed_too = _listed(clients.portfolio, rows)
    told = units["_why"].mask((units["_why"] == OPEN) & (units["_version"] <= after_version), "")  # told before
    why = told[told != ""].value_counts()
    left_out = {reason: int(why[reason]) for reason in (CALLED, AGAIN, OPEN) if reason in why}
    if listed_too.any():
        left_out[LISTED] = int(listed_too.sum())
    return Counted(rows[~listed_too].reset_index(drop=True), left_out)


def held_out(portfolio: Portfolio, ids: pd.Series[Any]) -> npt.NDArray[np.bool_]:
    """Which clients are not to be called, though their risk be high, shape ``(clients,)``.

    Where calls are recorded (``treated``), those who were called are no evidence of who leaves by himself, so a random
    share of the clients (``hold_out``) must stay uncalled. The same clients on every day: it is a hash of the id.
    """
    if portfolio.treated is None:
        return np.zeros(len(ids), dtype=bool)
    hashes = (hashlib.sha256(f"{portfolio.name} {client}".encode()).digest()[:8] for client in ids)
    return np.array([int.from_bytes(each) < portfolio.hold_out * 2**64 for each in hashes], dtype=bool)


def _listed(portfolio: Portfolio, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Who was on the list to be called, by the last prediction before the row counted, and not held out."""
    if portfolio.treated is None or portfolio.id is None or rows.empty:
        return np.zeros(len(rows), dtype=bool)
    wanted: npt.NDArray[np.bool_] = (rows["_probability"] >= portfolio.threshold).to_numpy()
    return wanted & ~held_out(portfolio, rows[portfolio.id])


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """By the version in which they count, then by a hash of their keys: leavers come early, so ``_row`` knows."""
    order = np.lexsort((rows["_hashed"].to_numpy(), rows["_counted"].to_numpy()))
    return rows.iloc[order].drop(columns="_hashed").reset_index(drop=True)


def _hashed(key: str) -> str:
    """SQL for the first 64 bits of a text's SHA-256."""
    return f"CAST('0x' || left(sha256({key}), 16) AS UBIGINT)"


def trainable(clients: Clients, *, scores: Path | None = None) -> pd.DataFrame:
    """Rows to learn from: the last word on each unit that counts, as of the version of ``clients``.

    As `Counted.rows`, without predictions, and in the same order. A unit of which it has become known since that it
    was treated is left out.
    """
    portfolio = clients.portfolio
    units = counted(clients, after_version=0, scores=scores).rows[["_key", "_counted"]]
    newest = f"SELECT max(_row) AS _row FROM clients WHERE {_labelled(portfolio)}"
    rows = clients.sql(
        f"SELECT {shaped(portfolio, None)}, {_key(portfolio)} AS _key FROM clients "
        f"SEMI JOIN ({newest} GROUP BY {listed(_unit(portfolio)) or '_row'}) USING (_row) "
        f"WHERE {f'{quoted(portfolio.treated)} IS NOT TRUE' if portfolio.treated else 'true'}"
    )
    return units.merge(rows, on="_key")[[*rows.columns, "_counted"]]


class _Clock:
    """The latest as-of date of all rows before each version, in days since 1970; it stands still without a horizon.

    Before, not up to: what closes a window often comes just ahead of the outcomes of those who stayed, and those who
    left, being known already, would otherwise count a version earlier than they.
    """

    def __init__(self, clients: Clients):
        self.horizon, self.never = clients.portfolio.horizon or 0, clients.version + 1
        some = "true" if self.horizon else "false"
        latest = f"SELECT _version, max({_day(clients.portfolio)}) AS day FROM clients WHERE {some} GROUP BY _version"
        found = clients.sql(f"{latest} ORDER BY _version")
        self._versions: Ints = found["_version"].to_numpy(np.int64)
        self._days: Ints = found["day"].cummax().shift(1, fill_value=NO_DAY).to_numpy(np.int64)

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

    ``_row``, ``_version``, ``_day`` (days since 1970, 0 without a date), ``_treated``, and ``_id`` and ``_unit``: the
    first row that is chosen of the same client, and of the same unit.
    """
    portfolio = clients.portfolio
    unit = _unit(portfolio)
    # Windows of a client may overlap: with a horizon all of its rows are looked up, not those of that day alone.
    keys = [portfolio.id] if portfolio.id and portfolio.horizon else unit
    among = f"SEMI JOIN (SELECT {listed(keys)} FROM clients WHERE {undecided}) USING ({listed(keys)})" if keys else ""
    first = "_row"
    if unit:
        first = f"min(_row) OVER (PARTITION BY {listed(unit)})"
    client = f"min(_row) OVER (PARTITION BY {quoted(portfolio.id)})" if portfolio.id and portfolio.horizon else "_row"
    return clients.sql(
        f"SELECT _row, _version, {client} AS _id, CAST({_day(portfolio)} AS BIGINT) AS _day, "
        f"{_treated(portfolio)} AS _treated, {first} AS _unit FROM clients {among} "
        f"WHERE {_labelled(portfolio) if keys else undecided} ORDER BY _row",
        after=after_version,
    )


def _decided(units: pd.DataFrame, clock: _Clock) -> pd.DataFrame:
    """With ``_why`` a row does not count ("": it does), and ``_decided``, the version in which that was known."""
    first = units.groupby("_unit")["_version"].transform("min").to_numpy()
    closed = clock.closed(units["_day"].to_numpy(), first)
    known = units["_version"].to_numpy() <= closed  # when its window closed
    last = units["_row"].where(known).groupby(units["_unit"]).transform("max") == units["_row"]
    treated = (units["_treated"] & known).groupby(units["_unit"]).transform("any")
    units = units.assign(_decided=np.where(last, closed, units["_version"]), _why=np.where(last, "", AGAIN))
    open_still = last & (closed == clock.never)
    units.loc[_overlaps(units[last & ~open_still], clock.horizon), "_why"] = AGAIN
    units.loc[last & treated, "_why"] = CALLED
    units.loc[open_still, "_why"] = OPEN
    return units


def _overlaps(units: pd.DataFrame, horizon: int) -> list[int]:
    """Where, in the order in which rows count, one comes whose window overlaps that of an earlier one that counts."""
    if not horizon:  # each day is a window of its own
        return []
    several = units[units.duplicated("_id", keep=False)].sort_values(["_decided", "_day", "_row"])
    counts: dict[int, list[int]] = {}  # the days of each client's rows that count, in order
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
        table = rows_in(files)
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
