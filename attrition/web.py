"""The API's answers in Flask: JSON, ETags, problems, who may ask, headers, counts."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from attrition import answers
from attrition.answers import Answered, Counts
from attrition.book_file import Unreadable
from attrition.guard import Guard
from attrition.params import ParamsError
from attrition.serving import Refused

__all__ = ["answer", "install", "kept", "of", "recorded"]


def install(app: Flask, guard: Guard, counts: Counts) -> None:
    """Give an application what is here."""
    app.extensions["counts"] = counts

    def admit() -> None:
        g.request, g.begun = answers.request_id(), time.perf_counter()
        given = request.headers
        guard.admit(given.get("Host", ""), request.path, given.get("Authorization", ""))

    app.before_request(admit)
    app.after_request(_finish)
    app.register_error_handler(Exception, _failed)


def of(answered: Answered) -> Response:
    """An answer as Flask sends it."""
    return Response(answered.content, answered.status, content_type=answered.media_type)


def answer(content: Any) -> Response:
    """``content`` as JSON."""
    return of(Answered(200, "application/json", answers.encode(content)))


def recorded(content: Any) -> Response:
    """An answer that a client may keep, and ask about by its ETag."""
    return kept(answer(content))


def kept(response: Response) -> Response:
    """The same of any answer."""
    response.add_etag()
    response.make_conditional(request)
    return response


def _failed(error: Exception) -> Response:
    """Any error as a problem; the log has what it does not show, under the request's id."""
    refused = _refusal(error)
    if refused.detail == answers.FAILED or isinstance(error, (OSError, sqlite3.Error)):
        current_app.logger.error(
            "request %s: %s %s failed", g.request, request.method, request.url_rule, exc_info=error
        )
    response = of(answers.problem(refused, g.request))
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    if refused.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _refusal(error: Exception) -> Refused:
    """What is said of an error: what a tick, or whoever keeps the home, can mend is no failure of the server."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ParamsError):
        return Refused(503, "the portfolio's YAML cannot be used; a tick of the portfolio says why")
    if isinstance(error, Unreadable):
        return Refused(503, str(error))
    if isinstance(error, sqlite3.Error):
        return Refused(503, "the portfolio's book cannot be read at the moment; the log says why, under this request")
    if isinstance(error, OSError):
        return Refused(503, f"a file cannot be read ({error.strerror}); the log says which, under this request")
    if isinstance(error, HTTPException):
        return Refused(error.code or 500, error.description or "")
    return Refused(500, answers.FAILED)


def _finish(response: Response) -> Response:
    counts: Counts = current_app.extensions["counts"]
    route = request.url_rule.rule if request.url_rule else "none"
    counts.answered(route, response.status_code, time.perf_counter() - g.begun)
    for name, value in answers.HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = g.request
    return response
