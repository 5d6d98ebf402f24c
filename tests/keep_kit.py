"""A home that has lived for four ticks, for what is done in one that is kept for years."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pipeline_kit import NOWHERE, kept_ready, reports

from attrition import forks
from attrition.home import REPOSITORY, Home
from attrition.wishes import Wish
from runner import tick

SOURCE = REPOSITORY / "tests" / "data" / "telco_sample.csv"
HEADER, *LINES = SOURCE.read_text().splitlines(keepends=True)
LINES = [f"CU-{line.replace(',', '-Z,', 1)}" for line in LINES]
YAML = re.sub("rownames: {.*?}", "rownames: {type: text}", (REPOSITORY / "params" / "telco.yaml").read_text())
CLAIMS = "model: {learning_rows: 100}\nrules: {reference_rows: 40, reference_each: 10}\n"
FIRST = datetime(2026, 1, 5, 3, 15, tzinfo=UTC)
NOBODY = 2**22 + 1  # the number of no process
CLIENT = LINES[3].split(",")[0]


class Cut(BaseException):
    """In the place of a kill: nobody catches it."""


def lay(place, number, lines):
    path = place.incoming / f"clients-{number}.csv"
    path.write_text(HEADER + "".join(lines))
    path.with_name(f"{path.name}.done").touch()


def another(client):
    """A row of a client who was not there before."""
    return ",".join([client, *LINES[10].split(",")[1:]])


def ticked(home, at, **wish):
    assert tick(home, "telco", wish=Wish(**wish), clock=lambda: at) == 0


def names(place):
    return [report["run"] for report in reports(place)]


@contextmanager
def living(root: Path) -> Iterator[Home]:
    """A home after four ticks: a first model, a second one by force, and two that hold; a row was rejected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("ATTRITION_API_URL", NOWHERE)
        patch.setattr(forks, "forking", kept_ready)
        home = Home(root)
        place = home.place("telco")
        for folder in (place.params.parent, place.incoming):
            folder.mkdir(parents=True)
        place.params.write_text(YAML + CLAIMS)
        lay(place, 1, LINES[:250])
        ticked(home, FIRST)
        bad = LINES[3].rstrip("\n") + ",one too many\n"
        lay(place, 2, [*LINES[250:450], bad])
        ticked(home, FIRST + timedelta(days=1), force=True)
        for number, lines in ((3, LINES[450:475]), (4, LINES[475:])):
            lay(place, number, lines)
            ticked(home, FIRST + timedelta(days=number - 1))
    yield home


def copied(lived: Home, root: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of it, to be changed."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("ATTRITION_API_URL", NOWHERE)
    monkeypatch.setenv("ATTRITION_HOME", str(root))
    monkeypatch.setattr(forks, "forking", kept_ready)
    shutil.copytree(lived.root, root)
    return Home(root)
