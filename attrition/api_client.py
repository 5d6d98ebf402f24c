"""A client of the API: what it answers, how long it took, and what was wrong when it did not."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """GET ``path``, or POST ``body`` to it as JSON; waits at most ``seconds``. Never raises for what the API does."""
    endpoint = f"{'GET' if body is None else 'POST'} {path.split('?')[0]}"
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
        urllib.parse.urljoin(url, path),
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )
    begun = time.monotonic()

    def answer(status: int | None, raw: bytes, problem: str | None = None) -> Answer:
        try:
            content = json.loads(raw) if raw else None
        except ValueError:
            content, problem = None, problem or "the answer is not JSON"
        return Answer(endpoint, status, round(time.monotonic() - begun, 3), content, problem)

    if request.type not in ("http", "https"):
        return answer(None, b"", f"{request.type}: is no scheme of an API")
    if seconds <= 0:
        return answer(None, b"", "no time left to ask")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
            raw = response.read(LARGEST)
            if not raw or (response.length and len(raw) < LARGEST):  # less than its header has promised
                return answer(None, b"", "the answer broke off")
            return answer(response.status, raw)
    except urllib.error.HTTPError as error:
        with error:
            return answer(error.code, error.read(LARGEST), error.reason)
    except (OSError, ValueError, urllib.error.URLError) as error:
        return answer(None, b"", str(getattr(error, "reason", error)) or type(error).__name__)
    except Exception as error:  # http.client's own: a server that was killed in the middle of its answer
        return answer(None, b"", f"{type(error).__name__}: the answer broke off")


def ask_all(url: str, portfolio: str, rows: Sequence[Mapping[str, Any]], *, seconds: float = 5.0) -> list[Answer]:
    """Ask the four endpoints of the original brief, ``seconds`` in all."""
    end = time.monotonic() + seconds
    query = f"?portfolio={urllib.parse.quote(portfolio)}"
    answers = []
    for path, body in [
        ("/prediction", list(rows)),
        ("/scoring", None),
        ("/summarystats", None),
        ("/diagnostics", None),
    ]:
        answers.append(ask(url, path + query, seconds=end - time.monotonic(), body=body))
        if answers[-1].status is None:
            left = [
                f"{verb} {path}"
                for verb, path in (("GET", "/scoring"), ("GET", "/summarystats"), ("GET", "/diagnostics"))
            ]
            answers += [
                Answer(name, None, 0.0, None, "not asked: the API is not up") for name in left[len(answers) - 1 :]
            ]
            break
    return answers
