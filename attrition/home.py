"""Where things are: the folders of a home and of each portfolio in it. Standard library only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from attrition import safe

__all__ = [
    "CHECKOUT",
    "MANIFEST",
    "MARK",
    "MODEL",
    "NAME",
    "PARTS",
    "REPOSITORY",
    "RUN",
    "Home",
    "Place",
    "UsageError",
]

REPOSITORY = Path(__file__).resolve().parent.parent
CHECKOUT = safe.is_folder(REPOSITORY / "notebooks")
"""Whether this is a checkout of the repository; else it was installed from a wheel."""
PARTS = REPOSITORY if CHECKOUT else Path(__file__).resolve().parent / "parts"
"""What a home is laid out from: ``notebooks/`` and ``params/``."""
MARK = ".attrition"
"""The file by which a folder is known as a home, where nothing names one."""
MODEL, MANIFEST = "model.pkl", "manifest.json"
"""The files of a model's version."""
RUN = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9]{4,}")
"""What a run is called: its moment in UTC, and its number."""
NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""What a portfolio may be called; anything else never becomes a path."""


class UsageError(ValueError):
    """What a person asked for cannot be done as asked; nothing was started."""


@dataclass(frozen=True)
class Place:
    """The folders and files of one portfolio."""

    root: Path
    name: str

    @property
    def params(self) -> Path:
        return self.root / "params" / f"{self.name}.yaml"

    @property
    def off(self) -> list[Path]:
        """The files in ``params/`` by which it is switched off: ``NAME.yaml.off``, or another end before ``.off``."""
        return [path for path in safe.entries(self.params.parent, f"{self.name}.*") if path.suffix == ".off"]

    @property
    def in_use(self) -> bool:
        """Whether it has a book, or drops that wait; where that cannot be told, it has."""
        try:
            waiting = any(not path.name.startswith(".") for path in safe.entries(self.incoming))
            return waiting or safe.exists(self.book)
        except NotADirectoryError:
            return False
        except OSError:  # whoever looks closer says what is wrong there
            return True

    @property
    def gone(self) -> str:
        """What to say where it is in use, has no YAML and is not switched off."""
        return (
            f"{self.params} is missing, and {self.data} has a book or drops, which no tick takes: put it back, "
            f"or {self.name}.yaml.off in its place if it is to be none"
        )

    @property
    def data(self) -> Path:
        return self.root / "data" / self.name

    @property
    def incoming(self) -> Path:
        return self.data / "incoming"

    @property
    def taken(self) -> Path:
        return self.data / "taken"

    @property
    def quarantine(self) -> Path:
        return self.data / "quarantine"

    @property
    def test(self) -> Path:
        """Labelled rows that are never trained on, where the portfolio has some."""
        return self.data / "test"

    @property
    def clients(self) -> Path:
        return self.data / "clients"

    @property
    def scores(self) -> Path:
        return self.data / "scores"

    @property
    def ranking(self) -> Path:
        """All current clients by risk, as the last assessment left them."""
        return self.data / "ranking.parquet"

    @property
    def call_list(self) -> Path:
        """Whom to call first, as people leaf through it: lists of that ranking."""
        return self.data / "call_list.json"

    @property
    def book(self) -> Path:
        return self.data / "book.db"

    @property
    def forgetting(self) -> Path:
        """Whom to forget, while that is under way."""
        return self.data / "forgetting.json"

    @property
    def lock(self) -> Path:
        return self.data / "lock"

    @property
    def models(self) -> Path:
        return self.root / "models" / self.name

    def version_files(self, version: str) -> tuple[Path, Path]:
        """Where a model of that version has its files."""
        return self.models / version / MODEL, self.models / version / MANIFEST

    @property
    def current(self) -> Path:
        return self.models / "current.json"

    @property
    def executed(self) -> Path:
        return self.root / "executed" / self.name

    @property
    def at_work(self) -> Path:
        """There from the start of a run until the lists name it: found by a tick, the one before was cut short."""
        return self.executed / ".at-work"

    def begin_lists(self) -> None:
        """Say that the lists are to be written anew, before the first of them goes: cut short, a tick does it."""
        safe.make_folder(self.executed)  # not there yet where the first tick was killed
        self.at_work.touch()  # in one step, which leaves nothing beside it
        safe.sync(self.executed)

    @property
    def cache(self) -> Path:
        """What libraries want to write, for all portfolios; it may be removed at any time."""
        return self.root / "executed" / ".cache"

    @property
    def newest(self) -> Path:
        """What the package index said last, for all portfolios."""
        return self.cache / "newest.json"

    @property
    def opened(self) -> Path:
        """Stages of past runs that somebody looks into: scratch folders with copies of what those runs had left."""
        return self.executed / ".open"

    @property
    def staging(self) -> Path:
        return self.executed / ".staging"


@dataclass(frozen=True)
class Home:
    """The folder that holds ``params/ data/ models/ executed/``."""

    root: Path

    @classmethod
    def here(cls) -> Home:
        """The folder that ``ATTRITION_HOME`` names; the repository where it is unset or empty.

        Installed from a wheel, where there is no repository: the nearest folder at or above the working directory that
        ``attrition new`` has laid out.

        Raises:
            UsageError: there is none.
        """
        if named := os.environ.get("ATTRITION_HOME"):
            return cls(Path(named).resolve())
        if CHECKOUT:
            return cls(REPOSITORY)
        here = Path.cwd()
        if found := next((folder for folder in (here, *here.parents) if safe.exists(folder / MARK)), None):
            return cls(found)
        raise UsageError(f"{here} is no home: begin with: attrition new DIR, then cd DIR, or name it by ATTRITION_HOME")

    @staticmethod
    def stages() -> Path:
        """The folder of the stages: what ``ATTRITION_NOTEBOOKS`` names, else those of the repository or the home."""
        if named := os.environ.get("ATTRITION_NOTEBOOKS"):
            return Path(named).resolve()
        if not CHECKOUT:
            try:
                if safe.is_folder(own := Home.here().root / "notebooks"):
                    return own
            except UsageError:
                pass
        return PARTS / "notebooks"

    def place(self, name: str) -> Place:
        """The places of a portfolio.

        Raises:
            UsageError: ``name`` is not a portfolio's name.
        """
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name[:80]!r} is no portfolio's name: a small letter, then at most 31 small letters, digits, - or _"
            )
        return Place(self.root, name)

    def portfolios(self) -> list[str]:
        """Names of all portfolios, in order: the YAML files in ``params/``."""
        found = safe.entries(self.root / "params", "*.yaml")
        return sorted(path.stem for path in found if NAME.fullmatch(path.stem))

    def without_yaml(self) -> list[str]:
        """Names of what is in use in ``data/`` and has no YAML, in order: switched off, or its YAML went away."""
        known = set(self.portfolios())
        found = [path.name for path in safe.entries(self.root / "data") if path.name not in known]
        return [name for name in found if NAME.fullmatch(name) and self.place(name).in_use]

    def lost(self) -> list[str]:
        """Of these the names whose YAML went away; in order."""
        return [name for name in self.without_yaml() if not self.place(name).off]

    def passed_over(self) -> list[str]:
        """What to say of each YAML file in ``params/`` that is no portfolio for its name alone; in order of names."""
        found = safe.entries(self.root / "params")
        yamls = [path for path in found if path.suffix.lower() in (".yaml", ".yml") and not path.name.startswith(".")]
        return [self._renamed(path) for path in yamls if path.suffix != ".yaml" or not NAME.fullmatch(path.stem)]

    def _renamed(self, path: Path) -> str:
        own = re.sub(r"[^a-z0-9_-]", "_", path.stem.lower())
        own = (own if "a" <= own[0] <= "z" else f"p{own}")[:32]
        to = f"{own}.yaml"
        if safe.there(path.with_name(to)):
            to = (
                f"a name that is not taken, as {own} is: a small letter, then small letters, digits, - or _, then .yaml"
            )
        elif own != path.stem and safe.is_folder(self.root / "data" / path.stem):
            to += f", and its folder {path.stem!r} in data/ to {own}"
        return (
            f"{path.parent}: {path.name!r} is no portfolio's YAML, so no tick takes its drops: rename it to {to}; "
            "if it is to be none, to one that ends in .off"
        )

    def all_portfolios(self) -> list[str]:
        """What `portfolios` finds, for who is asked for all of them: of none, nothing would be done in silence.

        Raises:
            UsageError: there is none: the home is mistyped, not mounted, or new.
        """
        if names := self.portfolios():
            return names
        raise UsageError(
            f"{self.root / 'params'} has no NAME.yaml: is its disk there? "
            "To begin one: runner.py init FILE --target COLUMN"
        )
