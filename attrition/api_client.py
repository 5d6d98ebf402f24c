"""A client of the API: what it answers, how long it took, and what was wrong when it did not."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Answer", "ask", "ask_all"]

LARGEST = 1_000_000  # bytes of an answer that are read


@dataclass(frozen=True)
class Answer:
    """One endpoint's answer. ``status`` is None where the API could not be reached; ``problem`` says why."""

    endpoint: str
    status: int | None
    seconds: float
    body: Any = None
    problem: str | None = None

    @property
    def run(self) -> str | None:
        """The run that the answer speaks of, where it says one."""
        return self.body.get("run") if isinstance(self.body, dict) else None


def ask(url: str, path: str, *, seconds: float, body: Any = None) -> Answer:
    """GET ``path``, or POST ``body`` to it as JSON, within ``seconds`` in all. Never raises for what the API does."""
    endpoint = f"{'GET' if body is None else 'POST'} {path.split('?')[0]}"
    begun = time.monotonic()
    got: list[Answer] = []
    # A time limit of urllib's is one for each piece: a server that drips would be waited for without end.
    asking = threading.Thread(
        target=lambda: got.append(_ask(urllib.parse.urljoin(url, path), body, seconds)), daemon=True
    )
    asking.start()
    asking.join(seconds)
    answer = got[0] if got else Answer("", None, 0.0, None, f"no whole answer within {seconds:.1f} s")
    return replace(answer, endpoint=endpoint, seconds=round(time.monotonic() - begun, 3))


def ask_all(url: str, portfolio: str, rows: Sequence[Mapping[str, Any]], *, seconds: float = 5.0) -> list[Answer]:
    """Ask the four endpoints of the original brief, ``seconds`` in all; after one that gives no answer, none."""
    end = time.monotonic() + seconds
    answers: list[Answer] = []
    for path, body in (
        ("/prediction", list(rows)),
        ("/scoring", None),
        ("/summarystats", None),
        ("/diagnostics", None),
    ):
        left = end - time.monotonic()
        if left <= 0 or (answers and answers[-1].status is None):
            why = "not asked: the one before gave no answer" if left > 0 else "not asked: no time was left"
            answers.append(Answer(f"{'POST' if body else 'GET'} {path}", None, 0.0, None, why))
        else:
            answers.append(ask(url, f"{path}?portfolio={urllib.parse.quote(portfolio)}", seconds=left, body=body))
    return answers


def _ask(url: str, body: Any, seconds: float) -> Answer:
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )
    if request.type not in ("http", "https"):
        return _broken(f"{request.type}: is no scheme of an API")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
            raw = response.read(LARGEST)
            if not raw or (response.length and len(raw) < LARGEST):  # less than its header has promised
                return _broken("the answer broke off")
            return _read(response.status, raw)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error.code, error.read(LARGEST), error.reason)
    except (OSError, ValueError) as error:
        return _broken(str(getattr(error, "reason", error)) or type(error).__name__)
    except Exception as error:  # http.client's own: a server that was killed in the middle of its answer
        return _broken(f"{type(error).__name__}: the answer broke off")


def _broken(problem: str) -> Answer:
    return Answer("", None, 0.0, None, problem)


def _read(status: int, raw: bytes, problem: str | None = None) -> Answer:
    try:
        return Answer("", status, 0.0, json.loads(raw), problem)
    except ValueError:
        return Answer("", status, 0.0, None, problem or "the answer is not JSON")
