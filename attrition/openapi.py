"""The description of the API that ``/openapi.json`` serves, made from its routes and a portfolio's columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from attrition.body import MOST_ROWS
from attrition.params import BANDS, Column, Portfolio

__all__ = ["describe"]

TYPES = {"integer": "integer", "number": "number", "boolean": "boolean"}


def describe(views: Iterable[tuple[str, str, str]], portfolio: Portfolio | None) -> dict[str, Any]:
    """An OpenAPI 3.1 document.

    Args:
        views: path as Flask writes it, method, and what it does.
        portfolio: whose columns a record has; None where there are several and none was chosen.
    """
    paths: dict[str, Any] = {}
    for rule, method, summary in views:
        path = re.sub(r"<(\w+)>", r"{\1}", rule)
        paths.setdefault(path, {})[method.lower()] = _operation(path, summary)
    schemas = {"Record": _record(portfolio), "Answer": _ANSWER, "Problem": _PROBLEM}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Attrition", "version": "1", "description": "Which clients are about to leave, and why."},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(path: str, summary: str) -> dict[str, Any]:
    parameters = [_parameter(name, "path") for name in re.findall(r"{(\w+)}", path)]
    parameters += [_parameter(name, "query", schema) for name, schema in _QUERY.get(path, _PORTFOLIO).items()]
    problem = {"application/problem+json": {"schema": _of("Problem")}}
    media, schema = ("application/json", _of("Answer")) if path == "/prediction" else (_MEDIA.get(path, _JSON), {})
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "the answer", "content": {media: {"schema": schema}}},
            "default": {"description": "why there is no answer", "content": problem},
        },
    }
    if path == "/prediction":
        operation["requestBody"] = {"required": True, "content": _BODY}
    return operation


def _parameter(name: str, where: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema or {"type": "string"}}


def _of(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _record(portfolio: Portfolio | None) -> dict[str, Any]:
    if portfolio is None:
        return {"type": "object", "description": "the columns of the portfolio: ask with ?portfolio=NAME"}
    columns = portfolio.columns
    return {
        "type": "object",
        "title": portfolio.title,
        "properties": {name: _column(column) for name, column in columns.items()},
        "required": [name for name in portfolio.features if not columns[name].nullable],
        "additionalProperties": False,
    }


def _column(column: Column) -> dict[str, Any]:
    kind = TYPES.get(column.type, "string")
    found: dict[str, Any] = {"type": [kind, "null"] if column.nullable else kind}
    if column.values is not None:
        found["enum"] = [*column.values, None] if column.nullable else column.values
    said = {"minimum": column.min, "maximum": column.max, "title": column.label}
    dated = {"format": "date"} if column.type == "date" else {}
    return found | {key: value for key, value in said.items() if value is not None} | dated


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_JSON = "application/json"
_TEXT: dict[str, Any] = {"type": "string"}
_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}
_PORTFOLIO: dict[str, Any] = {"portfolio": _TEXT}
_QUERY: dict[str, dict[str, Any]] = {
    "/": {},
    "/livez": {},
    "/metrics": {},
    "/clients": {**_PORTFOLIO, "limit": _WHOLE, "offset": _WHOLE, "band": {"enum": list(BANDS)}},
    "/runs": {**_PORTFOLIO, "limit": _WHOLE, "before": _WHOLE},
}
_MEDIA = {"/": "text/html", "/metrics": "text/plain", "/runs/{run}/{file}": "application/octet-stream"}
_BODY = {
    _JSON: {"schema": {"oneOf": [_of("Record"), {"type": "array", "items": _of("Record"), "maxItems": MOST_ROWS}]}},
    "text/csv": {"schema": _TEXT},
}
_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
_PREDICTION = _object(probability=_PROBABILITY, decision={"type": "boolean"}, band={"enum": list(BANDS)})
_ANSWER = _object(
    portfolio=_TEXT,
    run={**_TEXT, "description": "that trained the model"},
    model=_object(version=_TEXT, sha256=_TEXT),
    threshold=_PROBABILITY,
    predictions={"type": "array", "items": _PREDICTION},
)
_PROBLEM = _object(type=_TEXT, title=_TEXT, status=_WHOLE, detail=_TEXT)
_PROBLEM["properties"]["errors"] = {
    "type": "array",
    "items": _object(row=_WHOLE, field={"type": ["string", "null"]}, problem=_TEXT),
}
