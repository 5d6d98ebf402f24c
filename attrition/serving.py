"""The deployed models in memory, and their swap when ``current.json`` changes. It does not know Flask.

What a request sees is one immutable :class:`Served`: model, manifest and portfolio belong together however
often they are replaced meanwhile. A candidate that is refused leaves the old one serving.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrition import body, model, params, registry
from attrition.body import Refused
from attrition.home import Home, Place
from attrition.params import ParamsError, Portfolio
from attrition.registry import Current, Manifest, ModelRefused

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["PAUSE", "RETRY", "WAITING", "Refused", "Served", "Server"]

PAUSE = 0.2
"""Seconds between two looks at ``current.json``."""
RETRY = 2.0
"""Seconds until a candidate that was refused is tried again, although no file changed."""
WAITING = "no model is deployed yet: the first tick with enough labelled rows trains one"


@dataclass(frozen=True)
class Served:
    """A deployed model with its portfolio."""

    portfolio: Portfolio
    current: Current
    manifest: Manifest
    pipeline: Pipeline

    @classmethod
    def load(cls, place: Place) -> Served | None:
        """What is deployed in a portfolio; None before the first model is.

        Raises:
            ModelRefused: the model is not what was deployed, or does not fit the portfolio.
            ParamsError: the portfolio's YAML cannot be used.
        """
        portfolio = params.load(place.params)
        current = registry.current(place.models)
        if current is None:
            return None
        folder = registry.version_path(place.models, current.version)
        pipeline, manifest = registry.load(folder, current.sha256)
        if (manifest.portfolio, manifest.version) != (place.name, current.version):
            raise ModelRefused(folder, "it is another portfolio's or version's model", "restore it from a backup")
        if not _fits(pipeline, portfolio):
            why = "its features are not the portfolio's any more"
            raise ModelRefused(folder, why, f"take back the change in {place.name}.yaml, or train anew with --force")
        return cls(portfolio, current, manifest, pipeline)

    @property
    def identity(self) -> dict[str, str]:
        """The model that an answer speaks of."""
        return {"version": self.manifest.version, "sha256": self.manifest.sha256}

    def rows(self, data: bytes, media_type: str) -> list[dict[str, Any]]:
        """The rows of a request's body.

        Raises:
            Refused: see :func:`attrition.body.rows`.
        """
        return body.rows(data, media_type, self.portfolio, self.manifest.features)

    def answer(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Probability, decision and band of each row, in order, and whose they are."""
        found = model.probabilities(self.pipeline, registry.frame(rows, self.manifest)).tolist()
        return {
            "portfolio": self.portfolio.name,
            "run": self.manifest.run,
            "model": self.identity,
            "threshold": self.portfolio.threshold,
            "predictions": [self._prediction(row, probability) for row, probability in zip(rows, found, strict=True)],
        }

    def _prediction(self, row: dict[str, Any], probability: float) -> dict[str, Any]:
        bands = self.portfolio.bands
        band = "high" if probability >= bands.high else "medium" if probability >= bands.medium else "low"
        said = {"probability": probability, "decision": probability >= self.portfolio.threshold, "band": band}
        given = row.get(self.portfolio.id) if self.portfolio.id else None
        return said if given is None else {"id": given, **said}


def _fits(pipeline: Pipeline, portfolio: Portfolio) -> bool:
    """Whether each feature of the pipeline is still one of the portfolio's, and of the same kind."""
    kinds = {"numeric": set(portfolio.numeric), "categorical": set(portfolio.categorical)}
    read = getattr(pipeline.named_steps.get("columns"), "transformers", [])
    return bool(read) and all(set(names) <= kinds.get(kind, set()) for kind, _, names in read)


@dataclass
class _Slot:
    """What the server holds of one portfolio."""

    served: Served | None = None
    stamp: tuple[Any, ...] | None = None
    trouble: str | None = None
    checked: float = float("-inf")
    tried: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


class Server:
    """The models of a home. Safe to share between threads; it changes no file."""

    def __init__(self, home: Home, pause: float = PAUSE):
        self.home, self.pause = home, pause
        self._slots: dict[str, _Slot] = {}

    def place(self, asked: str | None = None) -> Place:
        """The portfolio that a request means; where the home has one, it need not be named.

        Raises:
            Refused: 404 there is no such portfolio, 400 there are several and none was named.
        """
        if asked is None:
            names = self.home.portfolios()
            if len(names) != 1:
                told = ", ".join(names[:20]) or "none: params/ has one YAML a portfolio"
                raise Refused(400, f"choose with ?portfolio=NAME; there is {told}"[:300])
            return self.home.place(names[0])
        try:
            place = self.home.place(asked)
        except ValueError:
            place = None
        if place is None or not place.params.is_file():
            raise Refused(404, f"there is no portfolio {asked[:40]!r}")
        return place

    def look(self, asked: str | None = None) -> tuple[Served | None, str | None]:
        """What serves, as fresh as ``pause``, and why the newest model does not where it was refused.

        Raises:
            Refused: as :meth:`place`.
        """
        slot = self._slot(self.place(asked).name)
        return slot.served, slot.trouble

    def portfolio(self, asked: str | None = None) -> Served:
        """The deployed model of the portfolio that a request means.

        Raises:
            Refused: as :meth:`place`, and 503 where no model is deployed or it was refused.
        """
        served, trouble = self.look(asked)
        if served is None:
            raise Refused(503, trouble or WAITING)
        return served

    @property
    def trouble(self) -> dict[str, str]:
        """Why a portfolio's newest model does not serve, for those where it was refused when last looked at."""
        return {name: slot.trouble for name, slot in self._slots.copy().items() if slot.trouble}

    def _slot(self, name: str) -> _Slot:
        slot = self._slots.setdefault(name, _Slot())
        # While one thread loads, the others go on with what there is; where there is nothing they wait.
        if time.monotonic() - slot.checked >= self.pause and slot.lock.acquire(blocking=slot.served is None):
            try:
                self._refresh(self.home.place(name), slot)
            finally:
                slot.checked = time.monotonic()
                slot.lock.release()
        return slot

    def _refresh(self, place: Place, slot: _Slot) -> None:
        stamp = _stamp(place.current), _stamp(place.params)
        now = time.monotonic()
        if stamp == slot.stamp and (slot.trouble is None or now - slot.tried < RETRY):
            return
        slot.stamp, slot.tried = stamp, now
        try:
            candidate = Served.load(place)
            slot.trouble = (
                "current.json is gone; the next tick writes it anew" if slot.served and not candidate else None
            )
            slot.served = candidate or slot.served
        except ModelRefused as error:
            slot.trouble = f"model refused: {error.why}; {error.remedy}"
        except (ParamsError, OSError):
            slot.trouble = f"{place.params.name} cannot be used; a tick of this portfolio says why"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
