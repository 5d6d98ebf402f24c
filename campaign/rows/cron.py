"""Row 15: cron's reality: what it gives to a job, another user, and cron itself."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from attrition.home import REPOSITORY, Place
from campaign import own, real, sink
from campaign.harness import Ended, Result, asked, child, scratch

WAYS: tuple[dict[str, str], ...] = (
    {},
    {"LANG": "C", "LC_ALL": "C"},
    {"LANG": "POSIX", "PYTHONUTF8": "0"},
    {"HOME": "/nonexistent"},
    {"HOME": "/proc"},  # there, and nobody may write in it
    {"PATH": ""},
    {"TZ": "America/New_York"},
    {"TZ": "Pacific/Apia"},
    {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"},
    {"XDG_CONFIG_HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent"},
    {"LD_PRELOAD": ""},
    {"TERM": "dumb", "COLUMNS": "1"},
)
Way = Callable[[Place], Ended]
NOBODY = 65534
PATHS = "/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 120  # seconds until cron's minute has come and its job is done
SUBREAPER = 36


def run(count: int, seed: int) -> Result:
    """No environment, LANG=C, no HOME, cwd /, few files; another user, whose HOME is closed to it or only to be read;
    and what `schedule` puts into a crontab, by cron.
    """
    result = Result(whole=len(WAYS) + 3)
    with scratch() as folder, sink.serving() as hook:
        folder.chmod(0o711)  # others may pass through
        closed = folder / "closed"
        closed.mkdir(0o700)
        ways: list[tuple[str, Way]] = [(f"{way}", partial(_bare, way)) for way in WAYS]
        others: list[tuple[str, Way]] = [
            ("another user, whose HOME is closed to it", partial(_bare, {"HOME": str(closed)})),
            ("another user, whose HOME is only to be read", partial(_bare, {"HOME": "/usr"})),
            ("a cron job of another user", _by_cron),
        ]
        for words, way in ways[:count]:
            result.case(words, _one(way, folder / "own", hook))
        if why := _alone():
            result.notes.append(f"no other user, and not cron itself: {why}")
            return result
        for words, way in others[: max(0, count - len(ways))]:
            result.case(words, asked(partial(_of_another, way, folder / "other", hook), patience=PATIENCE))
    return result


def _alone() -> str:
    """Why nothing can be done as another user, or by cron; empty if it can."""
    if os.geteuid() != 0:
        return "it needs root"
    return "" if shutil.which("cron", path=PATHS) and shutil.which("crontab") else "there is no cron (Debian: cron)"


def _of_another(way: Way, where: Path, hook: str) -> list[str]:
    own.mounts()
    for path in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)):
        own.passable(path)
    return _one(way, where, hook, owner=NOBODY)


def _one(way: Way, where: Path, hook: str, owner: int | None = None) -> list[str]:
    where.mkdir()
    place = real.start(where, hook)
    if owner is not None:
        _given_to(owner, place)
    done = way(place)
    if owner is not None:
        _given_to(0, place)  # who asks what there is, with a tick that root may do at home only
    wrong = [] if done.status == 0 else [f"it ended with {done.status}: {done.said[-300:]}"]
    wrong += ["it complains of a HOME that it cannot write to"] if "writable" in done.said else []
    wrong += real.mended(place, done)
    sink.gone(place.root)
    shutil.rmtree(where)
    return wrong


def _given_to(owner: int, place: Place) -> None:
    for path in (place.root, *place.root.rglob("*")):
        os.lchown(path, owner, owner)


def _bare(way: Mapping[str, str], place: Place) -> Ended:
    return real.ended(real.tick(place, way, _few_files))


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    os.umask(0o077)


def _by_cron(place: Place) -> Ended:
    """`schedule --install` by the home's owner, and the first job of a cron of our own; nobody else sees its spool."""
    said = child(lambda: _job(place, place.root / "executed" / "cron.log"), patience=PATIENCE)
    return Ended(said.status, None, f"{said.said}{said.value}")


def _job(place: Place, log: Path) -> str:
    for path in ("/var/spool/cron", "/run"):
        own.mount(Path(path), "size=4m,mode=755")
    table = Path("/var/spool/cron/crontabs")
    table.mkdir()
    shutil.chown(table, group="crontab")
    table.chmod(0o1730)
    installed = real.ended(real.command(place, ["schedule", "--every", "1m", "--install"]))
    if installed.status:
        return installed.said
    Path("/run/crond.reboot").touch()  # this machine was started before: no API
    ctypes.CDLL(None).prctl(SUBREAPER, 1)  # its job stays ours when it is gone
    command = shutil.which("cron", path=PATHS) or ""
    with subprocess.Popen([command, "-f"], env={"PATH": PATHS, "LANG": "C"}) as daemon:
        while not log.exists():  # the shell makes it when the job begins
            time.sleep(0.05)
        daemon.send_signal(signal.SIGKILL)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return log.read_text()
