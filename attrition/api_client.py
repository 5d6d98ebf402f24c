"""A client of the API, in one file that needs nothing but Python.

:class:`Client` asks and gives typed answers, or raises what was wrong; :func:`ask` and :func:`ask_all` never raise
and say how long it took, for reports. The token is ``ATTRITION_TOKEN``, or in the file ``ATTRITION_TOKEN_FILE``.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

__all__ = ["Answer", "ApiError", "Client", "Listed", "Predicted", "Prediction", "RankedClient", "ask", "ask_all"]

LARGEST = 16 * 1024 * 1024  # bytes of an answer that are read


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


class ApiError(Exception):
    """The API gave no answer, or refused. ``status`` is None where it could not be reached; ``errors`` has the rows and
    fields that are wrong, ``request`` what the server's log calls the request.
    """

    def __init__(self, answer: Answer):
        body = answer.body if isinstance(answer.body, dict) else {}
        self.status = answer.status
        self.detail = str(body.get("detail") or answer.problem or "no answer")
        self.errors: list[dict[str, Any]] = body.get("errors", [])
        self.request: str | None = body.get("request")
        super().__init__(f"{answer.endpoint}: {answer.status or 'unreachable'}: {self.detail}")


@dataclass(frozen=True)
class Prediction:
    """What is said of one client."""

    probability: float
    decision: bool  # at or above the threshold
    band: Literal["high", "medium", "low"]
    id: Any = None  # as it was sent
    reasons: tuple[str, ...] = ()  # where they were asked for


@dataclass(frozen=True)
class Predicted:
    """Predictions in the order of the rows, and the one model that made them all."""

    portfolio: str
    version: str
    sha256: str
    run: str  # that trained the model
    threshold: float
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class RankedClient:
    """One line of the list. ``change`` is of the probability since ``change_since``; None where nothing is known."""

    rank: int
    id: str
    probability: float
    band: Literal["high", "medium", "low"]
    reasons: tuple[str, ...]
    as_of: str | None
    change: float | None
    change_since: str | None
    shown: dict[str, Any]  # the other columns


@dataclass(frozen=True)
class Listed:
    """One page of the list; ``total`` counts all clients that were asked for."""

    run: str
    model: str
    total: int
    clients: tuple[RankedClient, ...]


class Client:
    """Asks one API, of one portfolio; each call takes at most ``seconds``.

    Every method raises :class:`ApiError` where there is no good answer.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", portfolio: str | None = None, *, seconds: float = 5.0):
        self.url, self.portfolio, self.seconds = url, portfolio, seconds

    def predict(self, rows: Sequence[Mapping[str, Any]], *, explain: int = 0) -> Predicted:
        """The risk of clients, with ``explain`` reasons each."""
        found = self._asked("/prediction", list(rows), explain=explain or None)
        said = [Prediction(**{**each, "reasons": tuple(each.get("reasons", ()))}) for each in found["predictions"]]
        return Predicted(
            found["portfolio"],
            **found["model"],
            run=found["run"],
            threshold=found["threshold"],
            predictions=tuple(said),
        )

    def clients(
        self,
        *,
        limit: int = 50,
        offset: int = 0,
        band: str | None = None,
        id: str | None = None,
        to_call: bool = False,
        **shown: str,
    ) -> Listed:
        """Clients by risk: of a ``band``, with ``id`` in their id, with values in columns that the portfolio shows;
        ``to_call`` leaves out those who have left, and those who are held out so that the model can be judged.
        """
        asked = {"limit": limit, "offset": offset, "band": band, "id": id, "to_call": 1 if to_call else None}
        found = self._asked("/clients", **asked, **shown)
        return Listed(found["run"], found["model"], found["total"], tuple(map(_ranked, found["clients"])))

    def scoring(self) -> dict[str, Any]:
        """How good the deployed model is."""
        return self._asked("/scoring")

    def summarystats(self) -> dict[str, Any]:
        """Statistics of all client rows."""
        return self._asked("/summarystats")

    def diagnostics(self) -> dict[str, Any]:
        """Missing values, timings, libraries."""
        return self._asked("/diagnostics")

    def model(self) -> dict[str, Any]:
        """The deployed model and its manifest."""
        return self._asked("/model")

    def runs(self, *, limit: int = 50, before: int | None = None) -> dict[str, Any]:
        """Past runs, newest first."""
        return self._asked("/runs", limit=limit, before=before)

    def ready(self, *, fresh: bool = False) -> dict[str, Any]:
        """Whether a model serves; with ``fresh`` also whether ticks still come."""
        return self._asked("/readyz", fresh=1 if fresh else None)

    def _asked(self, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        given = {key: value for key, value in {"portfolio": self.portfolio, **query}.items() if value is not None}
        answer = ask(self.url, f"{path}?{urllib.parse.urlencode(given)}", seconds=self.seconds, body=body)
        if answer.status != 200 or not isinstance(answer.body, dict):
            raise ApiError(answer)
        return answer.body


def _ranked(line: dict[str, Any]) -> RankedClient:
    named = {name: line.get(name) for name in ("rank", "id", "probability", "band", "as_of", "change", "change_since")}
    shown = {name: value for name, value in line.items() if name not in named and name != "reasons"}
    return RankedClient(**named, reasons=tuple(line["reasons"]), shown=shown)  # type: ignore[arg-type]


def ask(url: str, path: str, *, seconds: float, body: Any = None) -> Answer:
    """GET ``path``, or POST ``body`` to it as JSON, within ``seconds`` in all. Never raises for what the API does.

    Raises:
        TypeError: ``body`` holds what JSON has no form for.
    """
    data = None if body is None else json.dumps(body).encode()
    endpoint = f"{'GET' if body is None else 'POST'} {path.split('?')[0]}"
    begun = time.monotonic()
    got: list[Answer] = []
    # A time limit of urllib's is one for each piece: a server that drips would be waited for without end.
    asking = threading.Thread(
        target=lambda: got.append(_ask(urllib.parse.urljoin(url, path), data, seconds)), daemon=True
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


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the token is for the API that was named, and for no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(url: str, data: bytes | None, seconds: float) -> Answer:
    try:
        authorization = _authorization()
    except OSError:
        return _broken("ATTRITION_TOKEN_FILE: the file cannot be read")
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
        url,
        data=data,
        headers={"Content-Type": "application/json", "Accept": "application/json", **authorization},
    )
    if request.type not in ("http", "https"):
        return _broken(f"{request.type}: is no scheme of an API")
    # A proxy of the environment is for other machines; this one's API it would not reach, but learn the token.
    here = request.host.rsplit(":", 1)[0] in ("127.0.0.1", "localhost", "[::1]")
    direct = [urllib.request.ProxyHandler({})] if here else []
    try:
        with urllib.request.build_opener(_Stay, *direct).open(request, timeout=seconds) as response:
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


def _authorization() -> dict[str, str]:
    token, file = os.environ.get("ATTRITION_TOKEN"), os.environ.get("ATTRITION_TOKEN_FILE")
    if not token and file:
        token = Path(file).read_text(encoding="utf-8").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _broken(problem: str) -> Answer:
    return Answer("", None, 0.0, None, problem)


def _read(status: int, raw: bytes, problem: str | None = None) -> Answer:
    try:
        return Answer("", status, 0.0, json.loads(raw), problem)
    except ValueError:
        return Answer("", status, 0.0, None, problem or "the answer is not JSON")
