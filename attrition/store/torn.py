"""What a power cut may leave of the newest entry of a Delta log, which Delta Lake writes without syncing it.

Its name can be on the disk and its content not, or not all of it: then the table cannot be opened any more, or seems to
have a version in which nothing is. A commit says that it is done only once its entry was synced, so a torn one
is of a commit that nobody heard of. Standard library only.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from attrition import safe

__all__ = ["mend"]


def mend(table: Path) -> int | None:
    """Remove the newest entry of the log if it is torn; its version. To be called after a tick was cut short.

    A checkpoint of that version may be torn too, and is removed if the log reaches back without it: then it only saves
    time. Where older entries are gone, it was synced before they went (`delta.clean`).
    """
    log = table / "_delta_log"
    entries = safe.entries(log, "[0-9]*.json")
    if not entries:
        return None
    newest = entries[-1]
    checkpoint = safe.entries(log, f"{newest.stem}.checkpoint*")
    if checkpoint and int(entries[0].stem) == 0:
        (log / "_last_checkpoint").unlink(missing_ok=True)  # first, because it names the other
        for path in checkpoint:
            path.unlink()
    torn = not _whole(newest)
    if torn:
        newest.unlink()
    safe.sync(log)
    return int(newest.stem) if torn else None


def _whole(entry: Path) -> bool:
    """Whether all is there that the entry says, in its first line, that it does."""
    try:
        lines = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines()]
    except ValueError:
        return False
    held = Counter(key for line in lines if isinstance(line, dict) for key in line)
    about = next((line["commitInfo"] for line in lines if isinstance(line, dict) and "commitInfo" in line), None)
    if about is None:
        return False
    if "run" in about:  # delta.commit
        return held["txn"] == 1 and held["add"] == int(about.get("added", held["add"]))
    if "compacted" in about:  # delta.replace
        return held["add"] == 1 and held["remove"] == int(about["compacted"])
    if "rewritten" in about:  # delta.rewrite
        return held["add"] == int(about["added"]) and held["remove"] == int(about["rewritten"])
    return held["metaData"] == 1 and (held["protocol"] == 1 or int(entry.stem) > 0)
