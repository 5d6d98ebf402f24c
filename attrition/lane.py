"""``POST /prediction`` without Flask, for requests that are quite ordinary: as the route, several times sooner.

``GET /livez`` too: whether the process answers must not depend on a thread, since all may wait for a disk.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from attrition import answers
from attrition.answers import Answered, Counts
from attrition.body import Refused
from attrition.guard import Guard
from attrition.served import Served
from attrition.serving import Server

__all__ = ["ALIVE", "Lane", "predicted"]

QUERY = re.compile(r"(?:portfolio=([a-z][a-z0-9_-]*))?")
JSON = "application/json"
ALIVE = {"status": "alive"}


def predicted(served: Served, data: bytes, media_type: str, explain: int, counts: Counts) -> Answered:
    """The answer to a request's body, counted.

    Raises:
        Refused: as :meth:`attrition.served.Served.answer`.
    """
    answer, decisions = served.answer(data, media_type, explain)
    counts.predicted(served.portfolio.name, decisions)
    return Answered(200, JSON, answers.encode(answer))


class Lane:
    """Answers JSON to a folded model that is in memory, and /livez; whatever else comes is left to the route."""

    def __init__(self, server: Server, guard: Guard, counts: Counts):
        self._server, self._guard, self._counts = server, guard, counts

    def __call__(self, scope: Any, data: bytes) -> tuple[Answered, list[tuple[str, str]]] | None:
        """As :data:`attrition.front.Lane` says."""
        if scope.path == "/prediction":
            return self._predicted(scope, data)
        alive = scope.path == "/livez" and scope.method == "GET" and not scope.query_string
        return self._sent(scope, lambda: Answered(200, JSON, answers.encode(ALIVE))) if alive else None

    def _predicted(self, scope: Any, data: bytes) -> tuple[Answered, list[tuple[str, str]]] | None:
        if scope.method != "POST" or not (query := QUERY.fullmatch(scope.query_string)):
            return None
        served = self._server.held(query[1])
        if scope.headers.get("content-type") != JSON or served is None or served.folded is None:
            return None
        return self._sent(scope, lambda: predicted(served, data, JSON, 0, self._counts))

    def _sent(self, scope: Any, answer: Callable[[], Answered]) -> tuple[Answered, list[tuple[str, str]]] | None:
        """The answer to one who may ask, counted, with its headers."""
        headers, begun, asked = scope.headers, time.perf_counter(), answers.request_id()
        try:
            self._guard.admit(headers.get("host", ""), scope.path, headers.get("authorization", ""))
            answered = answer()
        except Refused as refused:
            if refused.status in (401, 403):
                return None
            answered = answers.problem(refused, asked)
        self._counts.answered(scope.path, answered.status, time.perf_counter() - begun)
        return answered, answers.headers(answered.media_type, asked)
