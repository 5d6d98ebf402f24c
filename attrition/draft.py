"""A portfolio's YAML as a person would write it, from what was found in a file: commented, and good to be edited."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

from attrition.profile import Dialect, Found, Profile

__all__ = ["yaml_text"]

LISTED = 30
"""Levels of a category that are written down; of more, any is taken."""
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*(?<! )")
RESERVED = {"y", "n", "yes", "no", "true", "false", "on", "off", "null", "none"}


def yaml_text(profile: Profile, dialect: Dialect, *, title: str, source: str) -> str:
    """The whole file. ``source`` says where it was found."""
    return "\n".join([*_head(profile, title, source), *_columns(profile), *_rest(profile, dialect)]) + "\n"


def _head(profile: Profile, title: str, source: str) -> Iterator[str]:
    yield f"# {_one_line(title)}: written by runner.py init from {_one_line(source)}, {profile.rows:,} rows."
    yield "# Every key there is, and what it means: params/demo.yaml. Change what you know better."
    if profile.warnings:
        yield "#"
        yield "# What looked wrong:"
        yield from (f"# - {_one_line(warning)}" for warning in profile.warnings)
    yield ""
    yield f"title: {_text(title)}"
    yield ""


def _columns(profile: Profile) -> Iterator[str]:
    yield "# A row that breaks what is said here is set aside with the reason; the others go on. A column that is not"
    yield "# here is not read. `text` is carried along and never learnt from."
    yield "columns:"
    if profile.made_id:
        yield f"  {_text(profile.id)}: {{type: text, made: line}}  # of file, content and line"
    for found in profile.columns:
        key = found.name in (profile.id, profile.as_of)
        type_ = "text" if found.left_out and not key and found.type != "date" else found.type
        said = ", ".join(f"{name}: {value}" for name, value in _facts(found, type_))
        note = "names a client" if found.name == profile.id else found.left_out or _seen(found)
        yield f"  {_text(found.name)}: {{{said}}}" + (f"  # {_one_line(note)}" if note else "")
    yield ""


def _facts(found: Found, type_: str) -> Iterator[tuple[str, str]]:
    yield "type", type_
    if type_ in ("integer", "number") and found.low is not None and found.low >= 0:
        yield "min", "0"
    if type_ == "category" and len(found.values) <= LISTED:
        yield "values", f"[{', '.join(map(_text, found.values))}]"
    if found.nullable:
        yield "nullable", "true"


def _seen(found: Found) -> str:
    if found.type in ("integer", "number"):
        return f"{found.low:g} to {found.high:g}"
    return f"{found.distinct} levels" if found.type == "category" and len(found.values) > LISTED else ""


def _rest(profile: Profile, dialect: Dialect) -> Iterator[str]:
    target = {"column": profile.target, "positive": profile.positive, "negative": profile.negative}
    yield "# The outcome; positive is how the file writes that a client left. An empty field is one not known yet."
    yield f"target: {{{', '.join(f'{key}: {_text(value)}' for key, value in target.items())}}}"
    yield f"id: {_text(profile.id)}"
    if profile.as_of:
        yield f"as_of: {_text(profile.as_of)}  # the day that a row describes: a client may come again on a later one"
    if dialect.delimiter != ",":
        yield f"delimiter: {json.dumps(dialect.delimiter)}"
    if dialect.decimal != ".":
        yield 'decimal: ","'
        yield 'thousands: "."  # 1.234,5 is one thousand two hundred and thirty-four and a half'
    yield ""
    yield "# What a call costs, what a client is worth and how many a call keeps; then lists say which calls pay:"
    yield "# costs: {call: 30, client: 400, kept: 0.25, currency: EUR}"
    yield "# model: {class: HistGradientBoostingClassifier, params: {max_iter: 100}}  # default: logistic regression"


def _text(value: str) -> str:
    """A text as YAML takes it for nothing else."""
    if PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=10_000).strip()


def _one_line(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
