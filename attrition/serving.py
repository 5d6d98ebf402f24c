"""The deployed models in memory, and their swap when ``current.json`` changes. It does not know Flask.

What a request sees is one immutable :class:`attrition.served.Served`: model, manifest and portfolio belong
together however often they are replaced meanwhile. A candidate that is refused leaves the old one serving.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from attrition import safe
from attrition.body import Refused
from attrition.home import Home, Place, UsageError
from attrition.params import ParamsError
from attrition.registry import ModelRefused
from attrition.served import Served, Stamp, stamp

__all__ = ["MOST_LOADED", "PAUSE", "RETRY", "WAITING", "Refused", "Server", "unread"]

PAUSE = 0.2
"""Seconds after which a new ``current.json`` is seen, at the latest."""
RETRY = 2.0
"""Seconds until a candidate that was refused is tried again, although no file changed."""
STALLED = 10.0
"""Seconds that a look at the files may take, with loading, until it is told that it does not come back."""
MOST_LOADED = 16
"""Models in memory; beyond them the one that was asked least recently makes room."""
WAITING = "no model is deployed yet: the first tick with enough labelled rows trains one"


@dataclass
class _Slot:
    """What the server holds of one portfolio."""

    served: Served | None = None
    stamps: tuple[Stamp, ...] | None = None
    trouble: str | None = None
    begun: float = float("-inf")
    checked: float = float("-inf")
    tried: float = float("-inf")
    used: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Server:
    """The models of a home. Safe to share between threads; it changes no file.

    A request looks at the files itself, at most once each ``pause`` seconds, until ``watch`` has a thread do so.
    """

    def __init__(self, home: Home, pause: float = PAUSE):
        self.home, self.pause = home, pause
        self._slots: dict[str, _Slot] = {}
        self._meant: dict[str | None, str] = {}
        self._only: str | None = None
        self._watched = False

    def watch(self) -> None:
        """From now on look at all that is loaded every half ``pause``, so that no request waits for a swap."""
        self._watched = True
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def place(self, asked: str | None = None) -> Place:
        """The portfolio that a request means; where the home has one, it need not be named.

        Where the system cannot say at the moment, one in memory is what it was: it goes on serving.

        Raises:
            Refused: 404 there is no such portfolio, 400 there are several and none was named, 503 nobody can say.
        """
        try:
            return self._found(asked)
        except OSError as error:
            name = self._only if asked is None else asked
            if name is None or name not in self._slots:
                raise Refused(503, unread(error, self.home.root)) from None
            return self.home.place(name)

    def _found(self, asked: str | None) -> Place:
        if asked is None:
            names = self.home.portfolios()
            self._only = names[0] if len(names) == 1 else None
            if self._only is None:
                told = ", ".join(names[:20]) or "none: params/ has one YAML a portfolio"
                raise Refused(400, f"choose with ?portfolio=NAME; there is {told}"[:300])
            return self.home.place(self._only)
        try:
            place = self.home.place(asked)
        except ValueError:
            place = None
        if place is None or not safe.is_file(place.params):
            raise Refused(404, f"there is no portfolio {asked[:40]!r}")
        return place

    def names(self) -> list[str]:
        """Names of all portfolios, in order; where the system cannot list them, of those in memory.

        Raises:
            Refused: 503 none is.
        """
        try:
            return self.home.portfolios()
        except OSError as error:
            if found := sorted(self._slots.copy()):
                return found
            raise Refused(503, unread(error, self.home.root)) from None

    def look(self, asked: str | None = None) -> tuple[Served | None, str | None]:
        """What serves, as fresh as ``pause``, and why the newest model does not where it was refused.

        Raises:
            Refused: as :meth:`place`.
        """
        name = self.place(asked).name
        slot = self._slots.setdefault(name, _Slot())
        slot.used = time.monotonic()
        # While one thread loads, the others go on with what there is; where there is nothing they wait.
        if slot.used - slot.checked >= self.pause and slot.lock.acquire(blocking=slot.served is None):
            self._refresh(name, slot)
        self._meant[asked] = name
        if slot.lock.locked() and (seconds := slot.used - slot.begun) >= STALLED:
            return slot.served, f"its disk has not answered for {seconds:.0f} s: what is deployed by now nobody can say"
        return slot.served, slot.trouble

    def held(self, asked: str | None = None) -> Served | None:
        """What serves, where that can be said without looking at any file; only when watched."""
        slot = self._slots.get(self._meant.get(asked, "")) if self._watched else None
        if slot is None:
            return None
        slot.used = time.monotonic()
        return slot.served

    def portfolio(self, asked: str | None = None) -> Served:
        """The deployed model of the portfolio that a request means.

        Raises:
            Refused: as :meth:`place`, and 503 where no model is deployed or it was refused.
        """
        served = self.held(asked)
        if served is None:
            served, trouble = self.look(asked)
            if served is None:
                raise Refused(503, trouble or WAITING)
        return served

    @property
    def loaded(self) -> dict[str, tuple[Served | None, str | None]]:
        """What serves, and what is wrong, of each portfolio that was asked for."""
        return {name: (slot.served, slot.trouble) for name, slot in sorted(self._slots.copy().items())}

    def has_room(self, name: str) -> bool:
        """Whether a portfolio is in memory, or can be without another one leaving."""
        return name in self._slots or len(self._slots) < MOST_LOADED

    def _watch(self) -> None:
        while True:
            time.sleep(self.pause / 2)
            self._look_again()

    def _look_again(self) -> None:
        """What requests mean, as portfolios may have come or gone, and what serves them."""
        for asked, meant in self._meant.copy().items():
            try:
                now = self.place(asked).name
            except Refused:
                now = ""
            if now != meant or meant not in self._slots:  # who asks next finds out; nobody else has to look
                self._meant.pop(asked, None)
        for name, slot in self._slots.copy().items():
            if slot.lock.acquire(blocking=False):
                self._refresh(name, slot)

    def _refresh(self, name: str, slot: _Slot) -> None:
        """Put what is deployed into a slot, whose lock is held and is let go."""
        slot.begun = time.monotonic()
        try:
            self._renew(self.home.place(name), slot)
        finally:
            slot.checked = time.monotonic()
            slot.lock.release()

    def _renew(self, place: Place, slot: _Slot) -> None:
        pointing = stamp(place.current), stamp(place.params)
        # Of what serves: gone or spoilt, it would be missed only when this process is started anew.
        files = tuple(map(stamp, place.version_files(slot.served.identity.version))) if slot.served else ()
        now = time.monotonic()
        if (*pointing, *files) == slot.stamps and (slot.trouble is None or now - slot.tried < RETRY):
            return
        slot.tried = now
        slot.served, trouble = _loaded(place, slot.served)
        slot.stamps = (*pointing, *(slot.served.files if slot.served and not trouble else files))
        told = f"; model {slot.served.manifest.version} goes on serving" if trouble and slot.served else ""
        slot.trouble = f"{trouble}{told}" if trouble else None
        self._make_room()

    def _make_room(self) -> None:
        slots = self._slots.copy()
        while len(slots) > MOST_LOADED:
            oldest = min(slots, key=lambda name: slots[name].used)
            del slots[oldest]
            self._slots.pop(oldest, None)  # a request that holds it still has its answer


def _loaded(place: Place, before: Served | None) -> tuple[Served | None, str | None]:
    """What serves from now on, and why that is not what is deployed, where it is not."""
    try:
        candidate = Served.load(place)
    except ModelRefused as error:
        return before, f"model refused: {error.why}; {error.remedy}"
    except ParamsError:
        return before, f"{place.params.name} cannot be used; a tick of this portfolio says why"
    except UsageError as error:  # of the key that signs models: it names the variable, and what to do
        return before, f"the model cannot be checked: {error}"
    except OSError as error:
        return before, unread(error, place.root)
    except Exception as error:  # whatever a file holds, what served goes on serving
        return before, f"model refused: loading it raised {type(error).__name__}; train anew"
    if before is not None and candidate is None:
        return before, "current.json is gone; the next tick writes it anew"
    return candidate, None


def unread(error: OSError, root: Path) -> str:
    """What could not be read, by its name within the home, and what to do."""
    path = Path(str(error.filename or "a file"))
    name = path.relative_to(root) if path.is_relative_to(root) else path.name
    return f"{name} cannot be read ({error.strerror}); mend its permissions or the disk"
