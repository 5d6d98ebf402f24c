"""The API's answers in Flask: JSON, ETags, problems, who may ask, headers, counts."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from attrition import answers
from attrition.answers import Answered, Counts
from attrition.book import Unreadable
from attrition.guard import Guard
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
    if isinstance(error, Refused):
        refused = error
    elif isinstance(error, Unreadable):
        refused = Refused(503, "the portfolio's book cannot be read; a tick of the portfolio says why")
    elif isinstance(error, HTTPException):
        refused = Refused(error.code or 500, error.description or "")
    else:
        current_app.logger.error(
            "request %s: %s %s failed", g.request, request.method, request.url_rule, exc_info=error
        )
        refused = Refused(500, answers.FAILED)
    response = of(answers.problem(refused, g.request))
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    if refused.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _finish(response: Response) -> Response:
    counts: Counts = current_app.extensions["counts"]
    route = request.url_rule.rule if request.url_rule else "none"
    counts.answered(route, response.status_code, time.perf_counter() - g.begun)
    for name, value in answers.HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = g.request
    return response
