"""Whether an installation and its home are well: one check a thing that can go wrong, each with what to do about it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import psutil

from attrition import alerts, api_client, crontab, params, registry, safe
from attrition.accord import refuse_older, refuse_split
from attrition.alone import refuse_without_book
from attrition.book import Book
from attrition.home import REPOSITORY, Home, Place, UsageError

__all__ = ["Finding", "examine"]

LEAST_FREE = 2**30
"""Bytes that a disk should have left."""
LATELY = 100
"""Runs among which the last is looked for that did a tick's work."""
PATIENCE = 5.0
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: *; *([^\\]+))?")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, what was seen, and what to do where it is not."""

    check: str
    ok: bool
    said: str
    remedy: str = ""


def examine(home: Home) -> Iterator[Finding]:
    """All findings, as they come: the installation first, then the home, then each portfolio."""
    for check in (_python, _lock, _kernel, _permissions, _file_system, _disk, _clock, _alerts, _cron, _api):
        yield _safely(check.__name__.strip("_").replace("_", " "), check, home)
    yield from (Finding("params", False, line, "rename it, as said") for line in home.passed_over())
    restored = "a backup has it, or what keeps the history of params/"
    yield from (Finding(f"{name}: params", False, home.place(name).gone, restored) for name in home.lost())
    names = home.portfolios()
    if not names:
        yield Finding(
            "params", False, f"no portfolio in {home.root / 'params'}", "runner.py init clients.csv --target COLUMN"
        )
    for name in names:
        place = home.place(name)
        for look in (_params, _store, _model, _freshness):
            yield _safely(f"{name}: {look.__name__.strip('_')}", look, place)


def _safely(name: str, check: Callable[..., Finding], given: Home | Place) -> Finding:
    """What a check finds; that it fell over is a finding too."""
    try:
        found = check(given)
    except UsageError as error:
        return Finding(name, False, str(error), "as said")
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}", "see the message; docs/operations.md has more")
    return Finding(name, found.ok, found.said, "" if found.ok else found.remedy)


# ---- the installation


def _python(_home: Home) -> Finding:
    said = f"{sys.version.split()[0]} at {sys.executable}"
    return Finding("", sys.version_info >= (3, 11), said, "Python 3.11 or newer is needed: make run PYTHON=python3.11")


def _lock(_home: Home) -> Finding:
    """Whether what is installed is what the lock names."""
    path = REPOSITORY / "requirements.txt"
    if not safe.exists(path):
        return Finding("", True, "installed from a wheel: there is no lock to hold it to")
    other = [
        f"{name} {found or 'missing'}, locked {version}" for name, version, found in _pins(path) if found != version
    ]
    said = f"{len(other)} libraries differ: {'; '.join(other[:3])}" if other else "every library is the locked one"
    return Finding("", not other, said, "rm -f .venv/run && make run, which installs the lock")


def _pins(path: Path) -> Iterator[tuple[str, str, str | None]]:
    from packaging.markers import Marker

    for line in path.read_text(encoding="utf-8").splitlines():
        if (pin := PIN.match(line)) and (not pin[3] or Marker(pin[3].strip()).evaluate()):
            try:
                yield pin[1], pin[2], metadata.version(pin[1])
            except metadata.PackageNotFoundError:
                yield pin[1], pin[2], None


def _kernel(home: Home) -> Finding:
    """Whether a notebook can be executed: one is, in a kernel as a tick has it."""
    import nbformat

    from attrition import forks, kernels
    from attrition.signals import Stop

    said: list[str] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, forks.forking(said.append) as forked:
        kernels.environment(Path(folder, "cache"))
        notebook, output = Path(folder, "one.ipynb"), Path(folder, "out.ipynb")
        cell = nbformat.v4.new_code_cell("1 + 1")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
        deadline = kernels.Deadline(60, "the kernel took more than a minute")
        kernels.execute(notebook, output, {}, forks=forked, deadline=deadline, stop=Stop())
    told = f"a notebook was executed in {time.monotonic() - begun:.1f} s{''.join(f'; {line}' for line in said)}"
    return Finding("", True, told)


def _cron(home: Home) -> Finding:
    """Whether something ticks: the crontab has the lines, and cron is running."""
    remedy = "runner.py schedule --install, or another timer: docs/operations.md"
    try:
        there = any(line.endswith(crontab.mark(home)) for line in crontab.lines())
    except UsageError as error:
        return Finding("", False, str(error), remedy)
    if not there:
        return Finding("", False, "no line of the crontab ticks this home", remedy)
    running = any(process.info["name"] in ("cron", "crond") for process in psutil.process_iter(["name"]))
    said = "the crontab ticks this home" + ("" if running else ", but cron is not running")
    return Finding("", running, said, "start cron: service cron start (under WSL2 see docs/operations.md)")


def _api(_home: Home) -> Finding:
    url = (os.environ.get("ATTRITION_API_URL") or "http://127.0.0.1:8000").rstrip("/")
    remedy = "python api.py; runner.py schedule --install starts it after a restart"
    if not url.startswith(("http://", "https://")):
        return Finding("", False, f"ATTRITION_API_URL is {url[:60]!r}", "an address that begins with http://")
    answer = api_client.ask(url, f"{url}/readyz", seconds=PATIENCE)  # with the token, as whoever asks it sends one
    if answer.status is None:
        return Finding("", False, f"{url} does not answer ({answer.problem})", remedy)
    if answer.status == 200:
        return Finding("", True, f"{url} is ready (200)")
    detail = answer.body.get("detail") if isinstance(answer.body, dict) else answer.problem
    said = f"{url}/readyz: {answer.status}: {detail}"
    if answer.status == 401:
        return Finding("", False, said, "set ATTRITION_TOKEN or ATTRITION_TOKEN_FILE here as the API has it")
    return Finding("", False, said, "docs/api.md says when it is ready")


# ---- the home


def _permissions(home: Home) -> Finding:
    folders = [home.root, *(home.root / name for name in ("params", "data", "models", "executed"))]
    wrong = [str(path) for path in folders if safe.exists(path) and not os.access(path, os.R_OK | os.W_OK | os.X_OK)]
    said = f"{', '.join(wrong)}: not to be read and written" if wrong else f"{home.root} can be read and written"
    return Finding("", not wrong, said, f"chown them to {psutil.Process().username()}, whose cron runs the ticks")


def _file_system(home: Home) -> Finding:
    """A lock must hold, and a rename must be one step: one local file system."""
    there = [path for name in ("data", "models", "executed") if safe.exists(path := home.root / name)] or [home.root]
    remote = [f"{path} is on {kind}" for path in there if (kind := safe.file_system(path)) in safe.REMOTE]
    if remote:
        return Finding(
            "", False, "; ".join(remote), "put the home on a local disk: a lock does not keep others out there"
        )
    split = len({path.stat().st_dev for path in there}) > 1
    said = "data/, models/ and executed/ are on different file systems" if split else "one local file system"
    return Finding("", not split, said, "put them on one: what a run made is renamed into its place in one step")


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.root).free
    return Finding("", free >= LEAST_FREE, f"{free / 2**30:.1f} GiB free", "make room: 1 GiB at least")


def _clock(home: Home) -> Finding:
    """A clock that went back makes runs that seem to come before those they follow."""
    ahead = [f"{name} ({last})" for name in home.portfolios() if (last := _last(home.place(name))) and _ago(last) < -60]
    said = f"earlier than the last run of {', '.join(ahead)}" if ahead else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Finding("", not ahead, said, "set the clock (timedatectl set-ntp true)")


def _alerts(home: Home) -> Finding:
    given = alerts.settings(home)
    if given is None:
        return Finding("", True, f"nobody is told: there is no {home.root / alerts.FILE} (docs/operations.md)")
    left = [name for name in home.portfolios() if _undelivered(home.place(name))]
    told = f"{len(given.to)} services, {'a' if given.heartbeat else 'no'} heartbeat"
    said = f"{told}; messages of {', '.join(left)} could not be delivered" if left else told
    return Finding("", not left, said, "runner.py alert --test says which service does not take them")


def _undelivered(place: Place) -> bool:
    path = place.data / "alerts.json"
    return safe.exists(path) and bool(json.loads(path.read_text(encoding="utf-8")).get("waiting"))


# ---- a portfolio


def _params(place: Place) -> Finding:
    from attrition import classifiers

    portfolio = params.load(place.params)
    classifiers.build(portfolio.model.kind, portfolio.model.params, portfolio.model.seed)
    return Finding("", True, f"{len(portfolio.columns)} columns, {len(portfolio.features)} to learn from")


def _store(place: Place) -> Finding:
    from attrition.store.clients import Clients

    if not _begun(place):
        return Finding("", False, "no tick yet", f"runner.py tick {place.name}")
    with Book.open(place.book, read_only=True) as book:
        refuse_split(place)
        refuse_older(place, book)
    clients = Clients(params.load(place.params), place.clients)
    return Finding("", True, f"data version {clients.version}, {clients.rows:,} rows")


def _model(place: Place) -> Finding:
    current = registry.current(place.models)
    named, champion = current.version if current else None, _champion(place)
    if named != champion:
        said = f"current.json names {named or 'no model'}, and {champion or 'none'} is deployed"
        return Finding("", False, said, f"runner.py tick {place.name} writes it anew; see who, or what, changed it")
    if current is None:
        return Finding("", True, "none yet: there are too few clients with an outcome")
    folder = registry.version_path(place.models, current.version)
    _, manifest = registry.load(folder, current.sha256, (place.name, current.version))
    if not manifest.fits(params.load(place.params)):
        said = f"{current.version} knows other features than {place.params.name} names, so that it can score nobody"
        remedy = f"take back the change there, or send more clients with outcomes, for runner.py tick {place.name}"
        return Finding("", False, said, f"{remedy} to train another")
    return Finding("", True, f"{current.version} since {current.deployed_at}, its golden rows score as they did")


def _freshness(place: Place) -> Finding:
    if (last := _last(place)) is None:
        return Finding("", False, "no tick yet", f"runner.py tick {place.name}")
    from attrition.pages.portfolio import last_tick

    with Book.open(place.book, read_only=True) as book:
        done = last_tick(book.runs(limit=LATELY))
    if done and done["status"] in ("failed", "interrupted"):
        remedy = f"runner.py show {place.name}; the next tick starts where it stopped"
        return Finding("", False, f"the last run {done['run']} {done['status']}: {done['reason']}", remedy)
    allowed = 2 * float(os.environ.get("ATTRITION_INTERVAL") or 900)
    said = f"the last tick was {timedelta(seconds=round(_ago(last)))} ago, at {last}"
    return Finding("", _ago(last) <= allowed, said, "see the line of cron above, and executed/cron.log")


def _begun(place: Place) -> bool:
    """Whether a tick has made its book.

    Raises:
        UsageError: one had, and the book is gone.
    """
    refuse_without_book(place)
    return safe.exists(place.book)


def _champion(place: Place) -> str | None:
    if not _begun(place):
        return None
    with Book.open(place.book, read_only=True) as book:
        return book.state().champion


def _last(place: Place) -> str | None:
    """When the last tick ended, with or without work."""
    if not _begun(place):
        return None
    with Book.open(place.book, read_only=True) as book:
        quiet, runs = book.quiet_since(), book.runs(limit=LATELY)
    ended = [quiet["last"] if quiet else None, *(run["finished_at"] for run in runs)]
    return max((at for at in ended if at), default=None)


def _ago(stamp: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
