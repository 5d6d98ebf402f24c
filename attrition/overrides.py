"""``-p KEY VALUE``: a portfolio with some keys otherwise for one run, each of the type that the schema gives it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from attrition import params
from attrition.params import ParamsError, Portfolio

__all__ = ["changed"]


def changed(path: Path, given: Sequence[tuple[str, str]]) -> Portfolio:
    """The portfolio of a YAML file with changes; its ``text`` is the YAML that says the same.

    Args:
        path: the file.
        given: keys, of nested ones with dots (``model.C``), and their values as text.

    Raises:
        ParamsError: the file is wrong, a key does not exist, or a value is not of its type.
    """
    portfolio = params.load(path)
    if not given:
        return portfolio
    document = yaml.safe_load(portfolio.text)
    for key, text in given:
        _put(document, key, text)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_text(text, encoding="utf-8")
        try:
            return params.load(copy)
        except ParamsError as error:
            raise ParamsError(str(error).replace(str(copy), f"{path.name} with -p")) from None


def _put(document: dict[str, Any], key: str, text: str) -> None:
    kind: Any = Portfolio
    *above, last = key.split(".")
    for part in above:
        kind = _kind(_field(kind, part, key))
        document = document.setdefault(part, {})
    field = _field(kind, last, key)
    if _kind(field) is not None or field.annotation in (dict, list) or "dict[" in str(field.annotation):
        raise ParamsError(f"-p {key}: it is more than one value: change the YAML")
    if field.annotation in (str, str | None):
        document[last] = text
        return
    try:
        document[last] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ParamsError(f"-p {key}: it is no value") from None


def _field(kind: Any, name: str, key: str) -> FieldInfo:
    fields: Mapping[str, FieldInfo] = {}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = {
            field.alias or own: field for own, field in kind.model_fields.items() if own not in ("name", "sha256")
        }
    if name in fields:
        return fields[name]
    near = get_close_matches(name, fields, 1)
    raise ParamsError(f"-p {key}: unknown key{f'; did you mean {near[0]}?' if near else ''}")


def _kind(field: FieldInfo) -> Any:
    """The model of a nested key; None for a plain value."""
    choices = getattr(field.annotation, "__args__", None) or (field.annotation,)
    return next((each for each in choices if isinstance(each, type) and issubclass(each, BaseModel)), None)
