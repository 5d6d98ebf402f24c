"""What a disk may hold after a power cut: a recorded list of steps replayed, those not synced kept, dropped or torn.

A file's content lasts from the moment that the file is synced, a name from the moment that its folder is. A rename
is one step: it happened or not, as on every journalling file system. Nothing else is taken for granted; above all,
a name may last while the content does not, and later steps may last while earlier ones do not.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from urllib.parse import quote

from campaign.shim import Kind, Step

__all__ = ["Disk", "Tree", "common", "likeness", "materialise", "numbers", "tree", "tree_hash", "ways"]

OWN = (
    r'"(?:timestamp|modificationTime|createdTime)\\?":\d+',
    r'"pid": \d+',
    r'"id\\?":\\?"[0-9a-f-]{36}',
    r"\.\d+\.tmp",
    r"\[Errno \d+\]|os error \d+",
)
"""What each process has its own of: moments, its number, in names too, the id of a table; and an error's number."""
NOBODY = 2**22 + 1  # the number of no process
Tree = dict[str, bytes | None]
"""Content by relative path; None is a folder."""


@dataclass(frozen=True)
class _Data:
    node: int
    offset: int
    data: bytes | None  # None: the file was cut to a length of ``offset``


@dataclass(frozen=True)
class _Names:
    changes: tuple[tuple[int, str, int | None], ...]  # folder, name, what it names from now on


class Disk:
    """A folder as it was, and what was done below it afterwards."""

    def __init__(self, root: Path, start: Tree, inodes: Mapping[int, str], steps: Sequence[Step]):
        """Understand what was done.

        Args:
            root: the folder in the steps' paths.
            start: what was in it before.
            inodes: the kernel's numbers of what was in it, and the relative paths.
            steps: what was done.
        """
        self._at, self.length = root, len(steps)
        self._nodes: dict[int, bytes | None] = {0: None}  # content; None is a folder
        self._live: dict[int, dict[str, int]] = {0: {}}  # the names in each folder, as they are when all steps are kept
        for path, content in start.items():
            self._add(*self._split(str(root / path)), content)
        self._first = {folder: dict(names) for folder, names in self._live.items()}
        self._inodes = {inode: self._find(Path(path).parts) for inode, path in inodes.items()}
        self._contents = {node: content for node, content in self._nodes.items() if content is not None}
        self.changes = self._replayed(steps)

    def _add(self, folder: int, name: str, content: bytes | None) -> int:
        node = len(self._nodes)
        self._nodes[node] = content
        if content is None:
            self._live[node] = {}
        self._live[folder][name] = node
        return node

    def _find(self, parts: Sequence[str]) -> int:
        node = 0
        for part in parts:
            node = self._live[node][part]
        return node

    def _replayed(self, steps: Sequence[Step]) -> list[tuple[int, _Data | _Names, int]]:
        """Each change with the number of its step, and of the sync from which on it lasts."""
        waiting: dict[int, list[int]] = {}  # node: changes that its sync makes last
        found: list[tuple[int, _Data | _Names]] = []
        lasts: list[int] = []
        for number, step in enumerate(steps):
            if step.kind is Kind.SYNC:
                for each in waiting.pop(self._inodes.get(step.inode, -1), []):
                    lasts[each] = number
                continue
            change, synced_by = self._change(step)
            waiting.setdefault(synced_by, []).append(len(found))
            found.append((number, change))
            lasts.append(len(steps))
        return [(number, change, until) for (number, change), until in zip(found, lasts, strict=True)]

    def _change(self, step: Step) -> tuple[_Data | _Names, int]:
        """What a step changes, and the node whose sync makes it last."""
        if step.kind in (Kind.WRITE, Kind.CUT):
            node = self._inodes[step.inode]
            return _Data(node, step.offset, step.data if step.kind is Kind.WRITE else None), node
        folder, name = self._split(step.path)
        if step.kind in (Kind.CREATE, Kind.MKDIR):
            node = self._add(folder, name, None if step.kind is Kind.MKDIR else b"")
            self._inodes[step.inode] = node
            return _Names(((folder, name, node),)), folder
        if step.kind in (Kind.UNLINK, Kind.RMDIR):
            del self._live[folder][name]
            return _Names(((folder, name, None),)), folder
        node = self._live[folder][name]
        to, called = self._split(os.fsdecode(step.data))
        gone = ((folder, name, None),) if step.kind is Kind.RENAME else ()
        if gone:
            del self._live[folder][name]
        self._live[to][called] = node
        return _Names((*gone, (to, called, node))), to  # of a rename, its target's folder

    def _split(self, path: str) -> tuple[int, str]:
        parts = Path(path).relative_to(self._at).parts
        return self._find(parts[:-1]), parts[-1]

    def after(self, number: int, keep: Callable[[_Data | _Names], float]) -> Tree:
        """The tree when power is cut before step ``number``.

        ``keep`` says of a step that was not synced how much of it is kept: 1, 0, or a part of what was written.
        """
        content = {node: bytearray(self._contents.get(node, b"")) for node in self._nodes}
        names = {node: dict(self._first.get(node, {})) for node in self._live}
        for made_at, change, lasts in self.changes:
            if made_at >= number:
                break
            share = 1.0 if lasts < number else keep(change)
            if share == 0:
                continue
            if isinstance(change, _Data):
                _write(content[change.node], change, share)
            else:
                for folder, name, node in change.changes:
                    if node is None:
                        names[folder].pop(name, None)
                    else:
                        names[folder][name] = node
        return dict(self._walk(0, "", names, content))

    def _walk(
        self, node: int, path: str, names: dict[int, dict[str, int]], content: dict[int, bytearray]
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, below in sorted(names[node].items()):
            at = f"{path}{name}"
            if below in names:
                yield at, None
                yield from self._walk(below, f"{at}/", names, content)
            else:
                yield at, bytes(content[below])


def _write(content: bytearray, change: _Data, share: float) -> None:
    if change.data is None:
        del content[change.offset :]
        content.extend(bytes(max(0, change.offset - len(content))))
        return
    data = change.data[: round(len(change.data) * share)]
    content.extend(bytes(max(0, change.offset + len(data) - len(content))))
    content[change.offset : change.offset + len(data)] = data


def ways(chance: Random) -> dict[str, Callable[[_Data | _Names], float]]:
    """How much of what was not synced may be left."""
    return {
        "nothing that was not synced": lambda _: 0.0,
        "names without content": lambda change: float(isinstance(change, _Names)),
        "content without names": lambda change: float(isinstance(change, _Data)),
        "some of it, in any order": lambda _: float(chance.random() < 0.5),
        "some of it, torn": lambda change: (
            chance.choice([0.0, 0.5, 1.0]) if isinstance(change, _Data) else float(chance.random() < 0.8)
        ),
    }


def tree(root: Path) -> Tree:
    """What is below a folder, each folder before what is in it."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))
    }


def numbers(root: Path) -> dict[int, str]:
    """The kernel's number of the folder and of each path below it."""
    return {path.stat().st_ino: str(path.relative_to(root)) for path in [root, *root.rglob("*")]}


def tree_hash(tree: Tree) -> str:
    """Two trees with the same hash are the same."""
    digest = hashlib.sha256()
    for path, content in tree.items():
        digest.update(f"{path}\0{-1 if content is None else len(content)}\0".encode())
        digest.update(content or b"")
    return digest.hexdigest()


def common(root: Path, words: Sequence[str]) -> Tree:
    """A home without what each process has its own of, and without ``words`` that name an error.

    The book is taken by what it holds: where a reason is longer, SQLite lays out its pages anew.
    """
    masked = re.compile("|".join([*OWN, rf"{datetime.now(UTC).date()}T[\d:.]+Z", *map(re.escape, words)]).encode())
    found = tree(root)
    for path in [path for path in found if path.endswith(".db") and f"{path}-journal" not in found]:
        book = sqlite3.connect(f"file:{quote(str(root / path))}?immutable=1", uri=True)
        with closing(book), suppress(sqlite3.DatabaseError):  # torn: as it is
            found[path] = "\n".join(book.iterdump()).encode()
    for path in [path for path in found if path.endswith("/.reserve")]:
        found[path] = b"chance"
    names = {path: masked.sub(b"", path.encode()).decode() for path in found}
    return {names[path]: content if content is None else masked.sub(b"", content) for path, content in found.items()}


def likeness(root: Path, words: Sequence[str]) -> str:
    """Two homes with the same are the same in all that they have in `common`."""
    return tree_hash(common(root, words))


def materialise(tree: Tree, root: Path) -> None:
    """Write a tree to a real folder, for nobody else to read: so ``alerts.yaml`` wants it.

    No process outlives a power cut: what one wrote beside has the number of none, which may be in use again here.
    """
    root.mkdir()
    for recorded, content in tree.items():
        path = re.sub(r"\.\d+\.tmp$", f".{NOBODY}.tmp", recorded)
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)
            (root / path).chmod(0o600)
