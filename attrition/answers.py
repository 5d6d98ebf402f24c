"""What every answer of the API has: JSON, headers, a request's id, and for a refusal the problem. It knows no Flask."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from attrition.body import Refused

__all__ = [
    "CONTENT_POLICY",
    "FAILED",
    "HEADERS",
    "Answered",
    "Counts",
    "encode",
    "headers",
    "problem",
    "request_id",
    "told",
]

CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""With every answer."""
_LOWER = [(name.lower(), value) for name, value in HEADERS.items()]
PROBLEM = "application/problem+json"
FAILED = "the server failed; its log says why, under the id of this request"

encode = msgspec.json.Encoder(decimal_format="number").encode
"""Anything as JSON; NaN becomes null, a date ISO 8601."""


class Answered(NamedTuple):
    """An answer before its headers."""

    status: int
    media_type: str
    content: bytes


def request_id() -> str:
    """What a person who reports a problem, and the log, call the request."""
    return secrets.token_hex(8)


def headers(media_type: str, request: str) -> list[tuple[str, str]]:
    """All headers of an answer."""
    return [("content-type", media_type), ("x-request-id", request), *_LOWER]


def problem(refused: Refused, request: str) -> Answered:
    """A refusal as RFC 9457 has it; it shows no value, no path and no stack."""
    status = refused.status
    told = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": refused.detail}
    errors = {"errors": refused.problems} if refused.problems else {}
    return Answered(status, PROBLEM, encode({**told, "request": request, **errors}))


class Counts:
    """Answers by route and status with the seconds they took, and rows by portfolio and decision."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers, self._seconds = Counter[tuple[str, int]](), Counter[str]()
        self._rows: Counter[tuple[str, str]] = Counter()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        with self._lock:
            self._answers[route, status] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]

    def predicted(self, portfolio: str, decisions: list[bool]) -> None:
        """Count the rows of a prediction."""
        leaves = sum(decisions)
        with self._lock:
            self._rows[portfolio, "leaves"] += leaves
            self._rows[portfolio, "stays"] += len(decisions) - leaves

    def lines(self) -> list[str]:
        """As Prometheus reads it."""
        with self._lock:
            answers, seconds, rows = (
                sorted(self._answers.items()),
                sorted(self._seconds.items()),
                sorted(self._rows.items()),
            )
        return [
            "# TYPE attrition_requests_total counter",
            *(f'attrition_requests_total{{route="{route}",status="{status}"}} {n}' for (route, status), n in answers),
            "# TYPE attrition_request_seconds_total counter",
            *(f'attrition_request_seconds_total{{route="{route}"}} {spent:.6f}' for route, spent in seconds),
            "# TYPE attrition_rows_total counter",
            *(f'attrition_rows_total{{portfolio="{name}",decision="{said}"}} {n}' for (name, said), n in rows),
        ]


def told(value: Any) -> str:
    """A label's value as Prometheus reads it."""
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
