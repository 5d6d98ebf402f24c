"""The description of the API that ``/openapi.json`` serves, made from its routes and the types that it decodes with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from attrition import schema
from attrition.body import MOST_ROWS
from attrition.params import BANDS, Portfolio

__all__ = ["QUERY", "describe"]


class Fault(msgspec.Struct):
    """What is wrong in a row (counted from 0), or, without a row, in all of them."""

    row: int | None
    field: str | None
    problem: str


class Problem(msgspec.Struct):
    """Why there is no answer (RFC 9457); ``request`` is what the log calls the request."""

    type: str
    title: str
    status: int
    detail: str
    request: str
    errors: list[Fault] = []


def describe(views: Iterable[tuple[str, str, str]], names: list[str], portfolio: Portfolio | None) -> dict[str, Any]:
    """An OpenAPI 3.1 document.

    Args:
        views: path as Flask writes it, method, and what it does.
        names: of the portfolios that there are.
        portfolio: whose columns a record has; None where there are several and none was chosen.
    """
    paths: dict[str, Any] = {}
    for rule, method, summary in views:
        path = re.sub(r"<(\w+)>", r"{\1}", rule)
        paths.setdefault(path, {})[method.lower()] = _operation(path, summary, names, portfolio)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Attrition", "version": "2", "description": "Which clients are about to leave, and why."},
        "paths": paths,
        "components": {
            "schemas": _schemas(portfolio),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _schemas(portfolio: Portfolio | None) -> dict[str, Any]:
    types: list[Any] = [schema.Answer, Problem]
    open_record = {"type": "object", "description": "the columns of the portfolio: ask with ?portfolio=NAME"}
    found: dict[str, Any] = {"Record": open_record, "Columns": open_record}
    if portfolio is not None:
        fields = schema.fields(portfolio, portfolio.features)
        types += [schema.record(fields), schema.table(fields)]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return found | components


def _operation(path: str, summary: str, names: list[str], portfolio: Portfolio | None) -> dict[str, Any]:
    asked = QUERY.get(path, {})
    if path not in _ALIKE:
        asked = {"portfolio": {"enum": names} if names else _TEXT, **asked}
    if path == "/clients" and portfolio:
        asked = {**dict.fromkeys(portfolio.show, _TEXT), **asked}
    parameters = [_parameter(name, "path") for name in re.findall(r"{(\w+)}", path)]
    parameters += [_parameter(name, "query", kind) for name, kind in asked.items()]
    problem = {"application/problem+json": {"schema": _of("Problem")}}
    content = {media: {"schema": _of("Answer") if path == "/prediction" else {}} for media in _MEDIA.get(path, [_JSON])}
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "the answer", "content": content},
            "default": {"description": "why there is no answer", "content": problem},
        },
    }
    if path == "/prediction":
        operation["requestBody"] = {"required": True, "content": _BODY}
    return operation


def _parameter(name: str, where: str, kind: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": kind or _TEXT}


def _of(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_JSON = "application/json"
_TEXT: dict[str, Any] = {"type": "string"}
_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 1000}
_FAR: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 10**9}
_ALIKE = ("/", "/livez", "/metrics")
"""Paths that speak of no portfolio, or of all."""
QUERY: dict[str, dict[str, Any]] = {
    "/readyz": {"fresh": {"type": "integer", "enum": [0, 1]}},
    "/prediction": {"explain": {"type": "integer", "minimum": 0, "maximum": 20}},
    "/clients": {
        "band": {"enum": list(BANDS)},
        "id": {**_TEXT, "description": "a part of the id"},
        "to_call": {"type": "integer", "enum": [0, 1], "description": "1: without those who left or are held out"},
        "format": {"enum": ["json", "csv"]},
        "limit": _WHOLE,
        "offset": _FAR,
    },
    "/runs": {"limit": _WHOLE, "before": _FAR},
}
"""What each path can be asked beside the portfolio and, of ``/clients``, the columns that a portfolio shows."""
_MEDIA = {
    "/": ["text/html"],
    "/metrics": ["text/plain"],
    "/clients": [_JSON, "text/csv"],
    "/runs/{run}/{file}": ["application/octet-stream"],
}
_BODY = {
    _JSON: {
        "schema": {
            "anyOf": [
                _of("Record"),
                {"type": "array", "items": _of("Record"), "minItems": 1, "maxItems": MOST_ROWS},
                _of("Columns"),
            ]
        }
    },
    "text/csv": {"schema": {**_TEXT, "description": "with a header"}},
    "multipart/form-data": {
        "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    },
}
