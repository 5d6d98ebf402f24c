"""What rows that cannot be taken are kept under: one JSON a line in ``quarantine/<run>/``. Standard library only."""

from __future__ import annotations

import hashlib
import os

__all__ = ["rejected"]

LONGEST = 200


def rejected(drop: str) -> str:
    """The name of the file with a drop's rejected rows.

    A name near the file system's limit has no room for a suffix; a name need not be UTF-8 either.
    """
    name = os.fsencode(drop)
    return f"{drop if len(name) <= LONGEST else hashlib.sha256(name).hexdigest()}.jsonl"
