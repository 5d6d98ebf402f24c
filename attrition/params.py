"""What a portfolio is: its columns, target, model and rules, from one strict YAML file."""

from __future__ import annotations

import hashlib
import re
import reprlib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from attrition import strict_yaml
from attrition.column_params import Column, Header, Strict, Target
from attrition.home import UsageError
from attrition.model_params import Bands, Cluster, Costs, ModelParams, Rules, Share
from attrition.source_params import Source

__all__ = [
    "BANDS",
    "Bands",
    "Cluster",
    "Costs",
    "ModelParams",
    "ParamsError",
    "Portfolio",
    "Rules",
    "Source",
    "asked",
    "listed",
    "load",
    "with_rules",
]

BANDS = ("high", "medium", "low")
RANKED = {
    *("rank", "id", "as_of", "data_version", "model_version"),
    *("run", "probability", "band", "hold_out", "gone", "reasons", "change", "change_since", "trail"),
}
"""What a list of clients by risk holds of its own."""

_APART_FROM_LISTS = {
    *("name", "sha256", "title", "model", "rules", "engine", "deadline", "run_deadline"),
    *("delimiter", "decimal", "thousands", "header", "repeats", "sources", "settle"),
}
"""Keys that change no line of a list: how a model is trained and judged, how files are written, how long it takes."""

LONGEST = 3650
"""Days that a horizon may have."""
WEEK = 7 * 24 * 3600
"""Seconds that a deadline may have: of some centuries the system's clocks and timers can count none."""


def _days(given: object) -> object:
    """``30d`` as 30: a number alone would leave open of what."""
    if given is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,3})d", given) if isinstance(given, str) else None
    if not found or int(found[1]) > LONGEST:
        raise ValueError(f"write whole days as 30d, from 1d to {LONGEST}d, not {given!r:.80}")
    return int(found[1])


Days = Annotated[int, BeforeValidator(_days)]


class ParamsError(UsageError):
    """A portfolio's YAML cannot be used; the message names file, key and what is expected."""


class Portfolio(Strict):
    """A population of clients with its model. ``name`` and ``sha256`` come from the file, not from its keys."""

    name: str
    sha256: str
    _text: str = PrivateAttr(default="")
    title: str
    columns: dict[str, Column]
    target: Target
    id: str | None = None
    as_of: str | None = None
    show: list[str] = Field([])  # carried to lists, never a feature
    horizon: Days | None = None  # days from as_of within which the outcome says whether the client left
    treated: str | None = None  # a boolean column: the client was called because of its risk; never a feature
    hold_out: Share = 0.1  # of the clients, by a hash of the id: not to be called though their risk is high
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."  # of the numbers in a CSV
    thousands: Literal[".", ",", " ", "'"] | None = None  # what may stand between groups of three digits in a CSV
    header: Header = Header()
    repeats: Literal["drop", "keep"] = "drop"  # equal rows of one file, where no id tells clients apart
    sources: list[Source] = Field([])  # where drops come from, beside those that are laid into incoming/
    settle: Annotated[float, Field(ge=0, le=3600)] = 2.0  # seconds that a file must be left alone
    model: ModelParams = ModelParams()
    rules: Rules = Rules()
    engine: Cluster | None = None  # a Dask cluster; none: the runner's machine
    costs: Costs | None = None
    given_threshold: Annotated[Share | None, Field(alias="threshold")] = None
    bands: Bands = Bands()
    top: Annotated[int, Field(ge=1, le=10_000)] = 50  # clients in the list to call first
    deadline: Annotated[int, Field(ge=1, le=WEEK)] = 900  # seconds for one stage
    run_deadline: Annotated[int, Field(ge=1, le=WEEK)] = 3600  # seconds for all stages of a run

    @model_validator(mode="after")
    def _checks(self) -> Self:
        if self.target.column in self.columns:
            raise ValueError(f"target.column {self.target.column!r} must not stand in columns too")
        for key, name in [("id", self.id), ("as_of", self.as_of), *(("show", name) for name in self.show)]:
            if name is not None and name not in self.columns:
                raise ValueError(f"{key}: {name!r} is not one of columns")
            if name is not None and key != "show" and self.columns[name].nullable:
                raise ValueError(f"{key}: {name!r} must not be nullable: a row without it belongs to nobody")
        if len({*self.show}) < len(self.show):
            raise ValueError("show: a column stands there twice")
        if self.as_of is not None and self.as_of == self.id:
            raise ValueError(f"id and as_of are both {self.id!r}: a date tells no client apart")
        if self.as_of is not None and self.columns[self.as_of].type != "date":
            raise ValueError(f"as_of: {self.as_of!r} must be a date")
        if taken := sorted(RANKED & set(self.show)):
            raise ValueError(f"show: {taken[0]!r} is a name that the list of clients has already: rename the column")
        for name in [*self.columns, self.target.column]:
            if name.startswith("_") or not name.strip() or name != name.strip() or len(name) > 64:
                raise ValueError(f"{name!r} is no column's name: no leading _, no spaces around it, at most 64 signs")
            if "\0" in name:  # Delta Lake writes it, and opens the table never again
                raise ValueError(f"columns: {name!r} is no column's name: take the NUL out of it")
        if len({name.lower() for name in [*self.columns, self.target.column]}) < len(self.columns) + 1:
            raise ValueError("two columns differ only in small and capital letters")
        if not self.features:
            raise ValueError("columns leave no feature: all are id, as_of, treated, show, text or date")
        return self

    @model_validator(mode="after")
    def _checks_files(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(f"thousands: {self.thousands!r} is the decimal sign already")
        if self.repeats == "keep" and self.id is not None:
            raise ValueError("repeats: keep is for tables without an id; with one, equal rows are one row")
        for key, name in [("id", self.id), ("as_of", self.as_of)]:
            if name is not None and self.columns[name].empty == "text":
                raise ValueError(f"{key}: {name!r} must not have empty: text: a row without it belongs to nobody")
        for name, column in self.columns.items():
            if column.made and (name != self.id or column.type != "text" or self.as_of):
                raise ValueError(f"columns.{name}: made: line is for an id that is a text, in files without an as_of")
        names = [source.name for source in self.sources]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"sources: two are called {twice!r}")
        return self

    @model_validator(mode="after")
    def _checks_evidence(self) -> Self:
        if self.horizon is not None and (self.id is None or self.as_of is None):
            raise ValueError("horizon: it counts from a client's as-of date: name both columns under id and as_of")
        if self.treated is not None and self.treated not in self.columns:
            raise ValueError(f"treated: {self.treated!r} is not one of columns")
        if self.treated is not None and (self.treated == self.id or self.columns[self.treated].type != "boolean"):
            raise ValueError(
                f"treated: {self.treated!r} must be a boolean of its own, true for a client that was called"
            )
        if self.costs is not None and self.given_threshold is not None:
            raise ValueError("threshold: it follows from costs: leave one of the two out")
        return self

    @property
    def text(self) -> str:
        """The YAML that it was read from, which may have been saved anew since."""
        return self._text

    @property
    def threshold(self) -> float:
        """At or above this probability a client is expected to leave; what costs say, else the YAML, else 0.5."""
        if self.costs is not None:
            return self.costs.threshold
        return 0.5 if self.given_threshold is None else self.given_threshold

    @property
    def listing(self) -> str:
        """SHA-256 of all that the list of clients is made by, beside model and rows."""
        given = self.model_dump_json(exclude=_APART_FROM_LISTS, exclude_defaults=True)
        return hashlib.sha256(given.encode()).hexdigest()

    @property
    def asks(self) -> dict[str, str | int | None]:
        """What one client in one window is: which rows count as one, and when."""
        return {"id": self.id, "as_of": self.as_of, "horizon": self.horizon}

    @property
    def features(self) -> list[str]:
        """Columns that a model may use: all but id, as-of date, treatment, shown columns, texts and dates."""
        apart = {self.id, self.as_of, self.treated, *self.show}
        return [
            name for name, column in self.columns.items() if name not in apart and column.type not in ("text", "date")
        ]

    @property
    def numeric(self) -> list[str]:
        """Features that are integers, numbers or booleans (as 0 and 1)."""
        return [name for name in self.features if self.columns[name].type != "category"]

    @property
    def categorical(self) -> list[str]:
        """Features that are categories."""
        return [name for name in self.features if self.columns[name].type == "category"]

    def label(self, name: str) -> str:
        """What a person calls a column."""
        column = self.columns.get(name)
        return (column.label if column else None) or name.replace("_", " ")


_BRIEF = reprlib.Repr()  # a few aliases in a YAML make a value that fills the memory when it is written out
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80

_SECRET = re.compile(r"://|passw|pwd|secret|token", re.IGNORECASE)
"""What stands in a connection string, whichever key it was given to."""

_KEYS = sorted(
    {
        field.alias or name
        for kind in (Portfolio, Column, Target, Header, Source, ModelParams, Rules, Bands, Costs, Cluster)
        for name, field in kind.model_fields.items()
    }
)


def load(path: Path) -> Portfolio:
    """Read and check one portfolio.

    Raises:
        ParamsError: no such file, not YAML, an unknown key, a wrong type or value; all faults at once.
    """
    text, given = _read(path, "no such portfolio; params/ has one YAML a portfolio")
    own = [key for key in ("name", "sha256") if key in given]
    if own:
        raise ParamsError(f"{path}: {own[0]}: unknown key; a portfolio's name is its file's name")
    try:
        read = Portfolio.model_validate(
            {**given, "name": path.stem, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        )
        read._text = text
        return read
    except ValidationError as error:
        faults = "\n".join(f"{path}: {_fault(fault)}" for fault in error.errors())
        raise ParamsError(faults) from None


def listed(portfolio: Portfolio) -> list[dict[str, Any]]:
    """The keys that have a default, each with its ``value`` and its ``default``, in the YAML's order and form."""
    found: list[dict[str, Any]] = []
    plain = portfolio.model_dump(mode="json")
    for name, field in Portfolio.model_fields.items():
        value, default = getattr(portfolio, name), field.get_default()
        if field.is_required() or name in ("show", "id", "as_of"):
            continue
        if isinstance(value, Strict):
            default = default.model_dump() if default is not None else {}
            own = value.model_dump().items()
            found += [{"key": f"{name}.{key}", "value": each, "default": default.get(key)} for key, each in own]
        else:
            found.append({"key": field.alias or name, "value": plain[name], "default": default})
    return found


def asked(text: str) -> dict[str, str | int | None]:
    """`Portfolio.asks` by a YAML of before, which this release need not take; empty where it cannot be told."""
    try:
        given = yaml.safe_load(text)
        return {"id": given.get("id"), "as_of": given.get("as_of"), "horizon": _days(given.get("horizon"))}
    except (yaml.YAMLError, ValueError, AttributeError):
        return {}


def with_rules(portfolio: Portfolio, path: Path) -> Portfolio:
    """The same portfolio with some of its ``rules`` as a YAML file gives them.

    Raises:
        ParamsError: as ``load``.
    """
    _, given = _read(path, "no such file; it holds rules of a portfolio, such as tolerance: 0.4")
    try:
        return portfolio.model_copy(update={"rules": Rules.model_validate(portfolio.rules.model_dump() | given)})
    except ValidationError as error:
        raise ParamsError("\n".join(f"{path}: {_fault(fault)}" for fault in error.errors())) from None


def _read(path: Path, none: str) -> tuple[str, dict[str, Any]]:
    """A file's text, and the keys and values that it holds."""
    text = ""
    try:
        text = path.read_bytes().decode("utf-8")
        given = strict_yaml.load(text)
    except FileNotFoundError:
        raise ParamsError(f"{path}: {none}") from None
    except IsADirectoryError:
        raise ParamsError(f"{path} is a folder: move it away, and write the portfolio's YAML there") from None
    except strict_yaml.Unread as error:
        raise ParamsError(f"{path}: {_key(text, error.line)}{error}, in line {error.line + 1}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise ParamsError(f"{path}: expected keys and values, found {type(given).__name__}")
    return text, given


def _key(text: str, line: int) -> str:
    """The key of the YAML that a line belongs to, with its colon; empty where none begins a line."""
    above = text.splitlines()[: line + 1]
    return next((f"{found[1]}: " for each in reversed(above) if (found := re.match(r"(\w+) *:", each))), "")


def _fault(fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(str(fault["loc"][-1]), _KEYS, 1)
        return f"{key}: unknown key{f'; did you mean {near[0]}?' if near else ''}"
    said = fault["msg"].removeprefix("Value error, ")
    found = "" if fault["type"] in ("missing", "value_error") else f", found {_shown(fault)}"
    return f"{key + ': ' if key else ''}{said}{found}"


def _shown(fault: Any) -> str:
    """What stands in the YAML in the wrong place: nothing that may be secret, for cron sends it by mail."""
    given = fault["input"]
    told = given if isinstance(given, str) else _BRIEF.repr(given)
    apart = fault["loc"][0] in ("sources", "engine") and not isinstance(given, int | float | None)
    if apart or _SECRET.search(told):
        return "something else (not shown: it may hold a password)"
    quotes = fault["type"] == "string_type" and isinstance(given, bool | int | float)
    return f"{_BRIEF.repr(given):.80}{': put it in quotes, for YAML takes it for another kind' if quotes else ''}"
