"""In which order and in what portions a tick's rows are read, whatever the labels and the lines of a file. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["micro_batches", "order"]

MICRO_BATCH = 50
"""Rows that are bet on before the shadows learn from them, about; more when a tick would have too many batches."""
MOST_BATCHES = 12
"""Of one tick: keeps its time in bounds, and learning more often than that within a tick brings nothing."""


def order(keys: Iterable[object]) -> npt.NDArray[np.intp]:
    """The permutation that puts rows in the order of a hash of their keys (the client's id, or the row's hash).

    ``detector.update`` reads rows in the order given, and rows sorted by label make it alarm; so apply this first:
    ``rows[order(ids)]`` is the same sequence however the rows came.

    Raises:
        ValueError: two rows have the same key, so that their order would be that of the file.
    """
    names = [str(key).encode() for key in keys]
    if len(set(names)) != len(names):
        raise ValueError("two rows of one tick have the same key; a client counts once in a tick")
    return np.argsort(np.array([hashlib.sha256(name).hexdigest() for name in names], dtype="S64"), kind="stable")


def micro_batches(n: int) -> list[tuple[int, int]]:
    """Rows from and to of each micro-batch: as equal as they can be."""
    if not n:
        return []
    edges = np.rint(np.linspace(0, n, min(max(1, round(n / MICRO_BATCH)), MOST_BATCHES) + 1)).astype(int).tolist()
    return list(pairwise(edges))
