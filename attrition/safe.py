"""The few file operations that everything durable goes through.

A file appears whole or not at all, and once a call has returned it survives a power cut: written
beside, synced, renamed, its folder synced.
"""

from __future__ import annotations

import errno
import fcntl
import fnmatch
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

__all__ = [
    "BROKEN",
    "Held",
    "NotLocal",
    "alive",
    "below",
    "clear",
    "derived",
    "entries",
    "exists",
    "file_system",
    "holder",
    "identity",
    "is_file",
    "is_folder",
    "is_link",
    "is_regular",
    "lock",
    "make_folder",
    "move",
    "publish",
    "remove",
    "sha256",
    "sweep",
    "sync",
    "sync_below",
    "there",
    "unlink",
    "write",
]


REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "gfs2", "ocfs2", "beegfs", "coda"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph", "fuse.gcsfuse", "fuse.davfs", "davfs"),
}
"""File systems that other machines see too, on which the lock of one kernel says nothing."""


NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What the system says of a path at which there can be nothing."""
INEXACT = 2.0
"""Seconds by which the moment at which a process began is not known: the machine's own start is told in whole ones."""
BROKEN = (errno.EIO, errno.EBADMSG, errno.ENODATA, errno.ESTALE, getattr(errno, "EUCLEAN", errno.EIO))
"""What the system says of one file that its disk cannot read; that the disk or the memory is full is everybody's."""
LONGEST, END = 255, 12
"""Bytes that a name may have (NAME_MAX of Linux); and those of a name's end that a derived one keeps."""


class NotLocal(OSError):
    """A lock was asked for on a file system that other machines see too."""


class Held(Exception):
    """Another process holds the lock; ``holder`` says which, as far as it wrote that down."""

    def __init__(self, path: Path, holder: dict[str, object]):
        self.path, self.holder = path, holder
        who = f"process {holder['pid']}, since {holder['since']}" if "pid" in holder else "another process"
        super().__init__(f"{who} holds {path}")


def exists(path: Path) -> bool:
    """Whether a path leads to something.

    It and those below stand in the place of `Path.exists` and the like, which from Python 3.14 on also say no where the
    system cannot tell: what is there would be passed over.

    Raises:
        OSError: it cannot be told.
    """
    return _mode(path) != 0


def is_file(path: Path) -> bool:
    """Whether a path leads to a file; raises as `exists` does."""
    return stat.S_ISREG(_mode(path))


def is_regular(path: Path) -> bool:
    """Whether a path is a regular file itself, and no link to one; raises as `exists` does."""
    return stat.S_ISREG(_mode(path, follow=False))


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; raises as `exists` does."""
    return stat.S_ISDIR(_mode(path))


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link; raises as `exists` does."""
    return stat.S_ISLNK(_mode(path, follow=False))


def there(path: Path) -> bool:
    """Whether a name is taken, be it by a link that leads nowhere; raises as `exists` does."""
    return _mode(path, follow=False) != 0


def _mode(path: Path, *, follow: bool = True) -> int:
    """What the system says that is at a path; 0: nothing."""
    try:
        return path.stat(follow_symlinks=follow).st_mode
    except OSError as error:
        if error.errno not in NOTHING:
            raise
        return 0


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from one that takes its place, and from itself once it is written to; None: it is gone."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def make_folder(path: Path) -> Path:
    """Make a folder and those above it, each synced into its parent; an existing one is fine."""
    if not is_folder(path):
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)
    return path


def write(path: Path, data: bytes | str) -> None:
    """Put ``data`` (text as UTF-8) at ``path``: readers see the old file or the new one, never a part."""
    beside = path.with_name(derived(path.name, ".", f".{os.getpid()}.tmp"))
    try:
        with beside.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # of a full disk, a quota or a limit: none is named
            error.filename = os.fspath(path)
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename within one file system, replacing ``target``; both folders are synced."""
    source.replace(target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def publish(staging: Path, target: Path) -> None:
    """Sync every file below ``staging``, then rename the folder to ``target`` in one step.

    Raises:
        FileExistsError: ``target`` is there already; a published folder is never replaced.
    """
    if exists(target):
        raise FileExistsError(f"{target} is already published")
    sync_below(staging)
    move(staging, target)


def sync_below(folder: Path) -> None:
    """Flush ``folder`` and all below it; to be called before anything says that it is there."""
    for each, _, names in os.walk(folder, onerror=_unless_gone):
        for name in names:
            sync(Path(each, name))
        sync(Path(each))


def entries(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in a folder under a name of that pattern, in order of names; nothing where there is no such folder.

    In the place of `Path.glob`, which also finds nothing in a folder that cannot be read: rows that are not found are
    lost, and of a client who is not found something stays.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if fnmatch.fnmatchcase(path.name, pattern))
    except FileNotFoundError:
        return []


def below(folder: Path) -> Iterator[Path]:
    """All files and folders below a folder, each folder in order of names; in the place of `Path.rglob`, as `entries`.

    Raises:
        OSError: a folder cannot be read.
    """
    for root, folders, names in os.walk(folder, onerror=_unless_gone):
        folders.sort()
        yield from (Path(root, name) for name in sorted([*folders, *names]))


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def remove(folder: Path) -> None:
    """Remove a folder that nothing names; gone already is fine."""
    if exists(folder):
        shutil.rmtree(folder)
        sync(folder.parent)


def unlink(path: Path) -> None:
    """Remove a file so that no power cut brings it back; gone already is fine, but not its folder."""
    path.unlink(missing_ok=True)
    sync(path.parent)


def derived(name: str, before: str = "", after: str = "") -> str:
    """A name made of another one, which itself may be as long as the file system allows.

    Where all of it would be too long, the middle is cut out: a hash of the whole name tells it from others then.
    """
    raw, room = os.fsencode(name), LONGEST - len(before) - len(after)
    if len(raw) <= room:
        return f"{before}{name}{after}"
    digest = f"-{hashlib.sha256(raw).hexdigest()[:16]}-"
    head, end = (each.decode(errors="ignore") for each in (raw[: room - len(digest) - END], raw[-END:]))
    return f"{before}{head}{digest}{end}{after}"


def sweep(folder: Path, pattern: str = ".*.tmp", *, deep: bool = False) -> None:
    """Remove what `write` left beside the files of ``folder`` when its process was killed; ``deep``: and below it.

    ``pattern``: of the names that are looked at, where others write too whose names may end in a number.
    """
    found = list(below(folder)) if deep else entries(folder)
    for path in (path for path in found if fnmatch.fnmatchcase(path.name, pattern)):
        _, _, pid = path.stem.rpartition(".")
        with suppress(FileNotFoundError):  # it, or its folder, just goes
            if pid.isdecimal() and not _writes(int(pid), path):
                unlink(path)


def clear(folder: Path) -> None:
    """Remove all below ``folder`` whose name begins with a dot: what nobody finished, and nobody will.

    A process that still writes there fails when it wants to give it its name.
    """
    for path in sorted(path for path in below(folder) if path.name.startswith(".")):
        with suppress(FileNotFoundError):  # it just goes
            remove(path) if is_folder(path) and not is_link(path) else unlink(path)


def _writes(pid: int, path: Path) -> bool:
    """Whether the process that wrote ``path`` is there still, and not a later one of its number.

    What this process leaves, it removes: an earlier one had the number. So had one before the machine was started anew.
    """
    return pid != os.getpid() and alive(pid, path)


def alive(pid: int, path: Path) -> bool:
    """Whether the process of this number is there, and began before ``path`` was written: else a later one has it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        pass
    import psutil  # here, as next to no tick finds anything to sweep

    try:
        return psutil.Process(pid).create_time() < path.lstat().st_mtime + INEXACT
    except psutil.Error:  # the system does not show it
        return True


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock(path: Path, since: str) -> Iterator[Callable[[], bool]]:
    """Hold the kernel's exclusive lock on ``path`` for the length of a ``with`` block.

    The lock dies with the process, so there is nothing stale to delete; the file stays, and names
    the last holder. Where somebody removes it all the same, another process may make one of its own, and hold that:
    the function that is given says, within the block, that none has.

    Raises:
        Held: another process has it.
        NotLocal: on this file system the lock would hold on this machine only.
    """
    make_folder(path.parent)
    kind = file_system(path.parent)
    if kind in REMOTE:
        raise NotLocal(f"{path.parent} is on {kind}, where a lock does not keep other machines out: use a local disk")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(path, _holder(handle)) from None
        # Always as long: a file system may wait for its disk when a file becomes shorter.
        os.pwrite(handle, json.dumps({"pid": os.getpid(), "since": since}).ljust(120).encode(), 0)
        yield partial(_is_open, path, handle)
    finally:
        os.close(handle)


def _is_open(path: Path, handle: int) -> bool:
    """Whether a path names the file that ``handle`` has open, or none."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return True


def holder(path: Path) -> dict[str, object]:
    """Process and moment of whoever held a lock last, as far as it wrote that down.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return _holder(file.fileno())


def file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that ``path`` is on; empty where the platform does not say."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return ""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    found = [fields for fields in map(str.split, lines) if fields[2] == wanted]
    return found[-1][found[-1].index("-") + 1] if found else ""


def _holder(handle: int) -> dict[str, object]:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
    except ValueError:  # the holder has not written its line yet
        return {}
    return holder if isinstance(holder, dict) else {}
