"""Streams that make a detector cry wolf: nothing in them says that a refit is due, but the rows that come do.

Each has a form as rows come by themselves, and where it needs one a form with the rows that count: a client once, when
the window of its label has closed, not called, in an order that does not know the labels. All without a change of the
law and with a champion that is right (no tail), so that an alarm is false by the theorem's own assumptions. The two
exceptions are named "beyond": there the law does move by more than δ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import pi, sin

import numpy as np
import numpy.typing as npt

from attrition.drift import order
from benchmarks.streams import HORIZON, Pushed, Rows, Stream, Synthetic, begin

__all__ = ["STRESSES", "few"]

CALLED, AVERTED, HELD_OUT = 0.2, 0.5, 0.1
"""The share of clients that is called, of the called who would have left but stay, and of those to call who are not."""
WINDOW = 4
"""Ticks until a label's window closes."""
POOL = 600
"""Clients who come again and again."""
SEASON, WITHIN, BEYOND = 12, 0.27, 1.0

Floats = npt.NDArray[np.float64]
Ticks = Iterator[Rows]


def harder(seed: int, n: int) -> tuple[Stream, Ticks]:
    """Clients come closer to even odds from tick 20 on."""
    stream = begin(Synthetic("harder", 0.0), seed)
    return stream, stream.ticks(n)


def called(seed: int, n: int, counted: bool) -> tuple[Stream, Ticks]:
    """The riskiest fifth is called, but for a random tenth of it, and half of their churn averted."""
    stream = _right(seed)

    def ticks() -> Ticks:
        for tick, rows in enumerate(stream.ticks(n)):
            rng = np.random.default_rng([seed, 4, tick])
            call = (rows.l >= np.quantile(rows.l, 1 - CALLED)) & (rng.random(n) >= HELD_OUT)
            stays = call & (rng.random(n) < AVERTED)
            after = Rows(rows.X, rows.l, rows.truth, np.where(stays, 0.0, rows.y))
            yield after.only(~call) if counted else after

    return stream, ticks()


def sorted_by_label(seed: int, n: int, counted: bool) -> tuple[Stream, Ticks]:
    """The file has those who left first; counted: put in the order of their keys' hashes."""
    stream = _right(seed)

    def ticks() -> Ticks:
        for tick, rows in enumerate(stream.ticks(n)):
            lines = np.argsort(-rows.y, kind="stable")
            hashed = order(f"client {tick}-{line}" for line in lines)
            yield rows.only(lines[hashed] if counted else lines)

    return stream, ticks()


def early_churners(seed: int, n: int, counted: bool) -> tuple[Stream, Ticks]:
    """Who leaves is known at once, who stays when the window closes; counted: both when it has closed."""
    stream = _right(seed)

    def ticks() -> Ticks:
        cohorts = list(stream.ticks(n))
        nobody = np.zeros(n, dtype=bool)
        for tick, now in enumerate(cohorts):
            closed = cohorts[max(0, tick - WINDOW)]
            due = nobody if tick < WINDOW else ~nobody
            if counted:
                yield closed.only(due)
                continue
            left, stayed = now.only(now.y == 1), closed.only(due & (closed.y == 0))
            both = [np.concatenate(pair) for pair in zip(_columns(left), _columns(stayed), strict=True)]
            yield Rows(*both).only(np.random.default_rng([seed, 4, tick]).permutation(len(both[0])))

    return stream, ticks()


def repeated(seed: int, n: int, counted: bool) -> tuple[Stream, Ticks]:
    """Always the same 600 clients with the same outcome; counted: each once."""
    stream = _right(seed)

    def ticks() -> Ticks:
        rng = np.random.default_rng([seed, 4])
        pool, seen = stream.rows(rng, POOL, 0), np.zeros(POOL, dtype=bool)
        for _ in range(HORIZON):
            who = rng.integers(0, POOL, n)
            if counted:
                who = np.unique(who[~seen[who]])
                seen[who] = True
            yield pool.only(rng.permutation(who))

    return stream, ticks()


def seasons(seed: int, n: int, counted: bool) -> tuple[Stream, Ticks]:
    """Everybody's log-odds go up and down within 12 ticks: by .27, inside δ, or by 1."""
    size = WITHIN if counted else BEYOND
    stream = begin(Pushed(Synthetic("none", 0.0), lambda tick: size * sin(2 * pi * tick / SEASON)), seed)
    return stream, stream.ticks(n)


def shocks(seed: int, n: int, counted: bool) -> tuple[Stream, Ticks]:
    """Within δ: each tick moves everybody by a draw of its own, to .27. Beyond: every tenth tick by 1."""

    def within(tick: int) -> float:
        return float(np.random.default_rng([seed, 5, tick]).uniform(-WITHIN, WITHIN))

    def beyond(tick: int) -> float:
        return (BEYOND if tick % 20 < 10 else -BEYOND) if tick % 10 == 5 else 0.0

    stream = begin(Pushed(Synthetic("none", 0.0), within if counted else beyond), seed)
    return stream, stream.ticks(n)


def few(seed: int, n: int, rows: int) -> tuple[Stream, Ticks]:
    """A champion trained on so many rows, and as many to refer to, 200 at most. Its law has the tail."""
    stream = begin(Synthetic("none"), seed, train=rows, held=min(rows, 200))
    return stream, stream.ticks(n)


STRESSES: tuple[tuple[str, Callable[[int, int], tuple[Stream, Ticks]], str], ...] = (
    ("harder clients, the model right", harder, "0"),
    ("called, all rows", lambda seed, n: called(seed, n, False), "cries wolf"),
    ("called, uncalled and hold-out only", lambda seed, n: called(seed, n, True), "0"),
    ("sorted by label, as in the file", lambda seed, n: sorted_by_label(seed, n, False), "cries wolf"),
    ("sorted by label, through `order`", lambda seed, n: sorted_by_label(seed, n, True), "0"),
    ("early churners, all rows", lambda seed, n: early_churners(seed, n, False), "cries wolf"),
    ("early churners, closed windows only", lambda seed, n: early_churners(seed, n, True), "0"),
    ("600 clients again and again, raw", lambda seed, n: repeated(seed, n, False), "cries wolf"),
    ("600 clients, counted once", lambda seed, n: repeated(seed, n, True), "0"),
    ("seasons within δ (.27)", lambda seed, n: seasons(seed, n, True), "0"),
    ("seasons beyond δ (1)", lambda seed, n: seasons(seed, n, False), "alarms, rightly"),
    ("shocks within δ (.27)", lambda seed, n: shocks(seed, n, True), "0"),
    ("one-tick shocks beyond δ (1)", lambda seed, n: shocks(seed, n, False), "alarms, rightly"),
    ("champion of 26 rows", lambda seed, n: few(seed, n, 26), "a refit helps"),
    ("champion of 100 rows", lambda seed, n: few(seed, n, 100), "a refit helps"),
    ("champion of 400 rows", lambda seed, n: few(seed, n, 400), "a refit helps"),
)
"""Name, stream and what is to be expected."""


def _right(seed: int) -> Stream:
    return begin(Synthetic("none", 0.0), seed)


def _columns(rows: Rows) -> tuple[Floats, ...]:
    return rows.X, rows.l, rows.truth, rows.y
