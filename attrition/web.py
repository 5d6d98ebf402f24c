"""What all answers of the API have in common: JSON, ETags, problems, the Host, headers, counts."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from attrition.book import Unreadable
from attrition.serving import Refused

__all__ = ["CONTENT_POLICY", "answer", "counts", "install", "recorded"]

CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_encode = msgspec.json.Encoder(decimal_format="number").encode


def install(app: Flask) -> None:
    """Give an application what is here."""
    app.extensions["answers"] = _Answers()
    app.before_request(_only_this_machine)
    app.after_request(_finish)
    app.register_error_handler(Exception, _failed)


def answer(content: Any, status: int = 200, mimetype: str = "application/json") -> Response:
    """``content`` as JSON; NaN becomes null, a date ISO 8601."""
    return Response(_encode(content), status, mimetype=mimetype)


def recorded(content: Any) -> Response:
    """An answer that a client may keep, and ask about by its ETag."""
    response = answer(content)
    response.add_etag()
    response.make_conditional(request)
    return response


def counts() -> list[str]:
    """How many answers were given by route and status, as Prometheus reads it."""
    return _answers().lines()


class _Answers:
    def __init__(self) -> None:
        self._lock, self._counts = threading.Lock(), Counter[tuple[str, int]]()

    def count(self, route: str, status: int) -> None:
        with self._lock:
            self._counts[route, status] += 1

    def lines(self) -> list[str]:
        with self._lock:
            given = sorted(self._counts.items())
        return [f'attrition_requests_total{{route="{route}",status="{code}"}} {n}' for (route, code), n in given]


def _answers() -> _Answers:
    answers: _Answers = current_app.extensions["answers"]
    return answers


def _problem(status: int, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> Response:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return answer(content | ({"errors": errors} if errors else {}), status, "application/problem+json")


def _failed(error: Exception) -> Response:
    """Any error as a problem that shows no path, no value and no stack; the log has the rest."""
    if isinstance(error, Refused):
        return _problem(error.status, error.detail, error.problems)
    if isinstance(error, Unreadable):
        return _problem(503, str(error))
    if not isinstance(error, HTTPException):
        current_app.logger.error("%s %s failed", request.method, request.url_rule, exc_info=error)
        return _problem(500, "the server failed; its log says why")
    response = _problem(error.code or 500, error.description or "")
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    return response


def _only_this_machine() -> Response | None:
    """A page elsewhere whose name resolves to this machine (DNS rebinding) sends its own name."""
    if HOST.fullmatch(request.headers.get("Host", "")):
        return None
    return _problem(403, "this API answers to 127.0.0.1 and localhost only")


def _finish(response: Response) -> Response:
    _answers().count(request.url_rule.rule if request.url_rule else "none", response.status_code)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    response.headers.setdefault("Cache-Control", "no-cache")
    return response
