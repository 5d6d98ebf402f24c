"""An order of a tick's rows that neither the labels nor the lines of a file have a say in. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["order"]


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
