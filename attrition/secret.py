"""Secrets: from the environment, or from a file that only its owner may read. They are never logged or shown."""

from __future__ import annotations

import os
from pathlib import Path

from attrition.home import UsageError

__all__ = ["read"]


def read(name: str) -> str | None:
    """The secret of the variable ``name``, or of the file that ``NAME_FILE`` names; None where neither is set.

    Raises:
        UsageError: the file cannot be read or others may read it too, or the secret is empty.
    """
    if given := os.environ.get(name):
        return given
    if not (named := os.environ.get(f"{name}_FILE")):
        return None
    try:
        with Path(named).open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError(f"{name}_FILE: others may read the file; chmod 600 it")
            found = file.read(10_000).strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{name}_FILE: the file cannot be read") from None
    if not found:
        raise UsageError(f"{name}_FILE: the file is empty")
    return found
