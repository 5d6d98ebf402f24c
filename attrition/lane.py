"""``POST /prediction`` without Flask, for requests that are quite ordinary: as the route, several times sooner."""

from __future__ import annotations

import re
import time
from typing import Any

from attrition import answers
from attrition.answers import Answered, Counts
from attrition.body import Refused
from attrition.guard import Guard
from attrition.served import Served
from attrition.serving import Server

__all__ = ["Lane", "predicted"]

QUERY = re.compile(r"(?:portfolio=([a-z][a-z0-9_-]*))?")
JSON = "application/json"


def predicted(served: Served, data: bytes, media_type: str, explain: int, counts: Counts) -> Answered:
    """The answer to a request's body, counted.

    Raises:
        Refused: as :meth:`attrition.served.Served.answer`.
    """
    answer, decisions = served.answer(data, media_type, explain)
    counts.predicted(served.portfolio.name, decisions)
    return Answered(200, JSON, answers.encode(answer))


class Lane:
    """Answers JSON to a folded model that is in memory; whatever else comes is left to the route."""

    def __init__(self, server: Server, guard: Guard, counts: Counts):
        self._server, self._guard, self._counts = server, guard, counts

    def __call__(self, scope: Any, data: bytes) -> tuple[Answered, list[tuple[str, str]]] | None:
        """As :data:`attrition.front.Lane` says."""
        if scope.path != "/prediction" or scope.method != "POST" or not (query := QUERY.fullmatch(scope.query_string)):
            return None
        headers, begun = scope.headers, time.perf_counter()
        served = self._server.held(query[1])
        if headers.get("content-type") != JSON or served is None or served.folded is None:
            return None
        asked = answers.request_id()
        try:
            self._guard.admit(headers.get("host", ""), scope.path, headers.get("authorization", ""))
            answered = predicted(served, data, JSON, 0, self._counts)
        except Refused as refused:
            if refused.status in (401, 403):
                return None
            answered = answers.problem(refused, asked)
        self._counts.answered(scope.path, answered.status, time.perf_counter() - begun)
        return answered, answers.headers(answered.media_type, asked)
