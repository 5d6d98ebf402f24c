"""Row 9: model file, manifest and current.json, each byte flipped, each length cut, swapped, edited: never served."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

from attrition import overview, registry
from attrition.body import Refused
from attrition.home import Home, Place
from attrition.serving import Server
from campaign import kit, oracle, sink
from campaign.cases import case
from campaign.harness import Result, asked, child, copied, scratch

SERVED, FEW = 12, 3
"""Cases of each file that a server and a tick meet, where all are tried and where not."""
PART = 2_000
"""Cases that one process goes through."""
OLDER = "an older one in its place"
Spoilt = tuple[str, str, bytes]


def run(count: int, seed: int) -> Result:
    """Spoil one file in ``count`` ways spread over all; registry and server must refuse it or serve the very same."""
    result, chance = Result(), Random(seed)
    with scratch() as folder:
        given = case("second", folder)
        child(lambda: kit.until_quiet(given.start))
        ways = [*_ways(given.start, chance)]
        result.whole = len(ways)
        if len(ways) > count:
            ways = chance.sample(ways, count)
        for at in range(0, len(ways), PART):
            part = ways[at : at + PART]
            ended = child(lambda part=part: _spoil(given.start, part))  # type: ignore[misc]
            if ended.status:
                raise AssertionError(ended.said[-3000:])
            for (name, words, _), wrong in zip(part, ended.value, strict=True):
                result.case(f"{name}, {words}", wrong)
        for name in _files(given.start):
            mine = [way for way in ways if way[0] == name]
            served = chance.sample(mine, min(len(mine), SERVED if len(ways) == result.whole else FEW))
            for _, words, data in [*served, *(way for way in mine if way[1] == OLDER)]:
                with copied(given.start, folder / "home") as place:
                    result.case(f"served: {name}, {words}", asked(partial(_served, place, name, data)))
        with copied(given.start, folder / "home") as place:
            result.case("served: current.json, one that names a barred model", asked(partial(_barred, place)))
        result.case("both, an older pair in their place", asked(partial(_older_pair, given.start)))
    return result


def _files(place: Place) -> dict[str, Path]:
    folder = place.models / "0002"
    return {"model.pkl": folder / "model.pkl", "manifest.json": folder / "manifest.json", "current.json": place.current}


def _ways(place: Place, chance: Random) -> Iterator[Spoilt]:
    for name, path in _files(place).items():
        whole = path.read_bytes()
        for at in range(len(whole)):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << chance.randrange(8)
            yield name, f"byte {at} flipped", bytes(flipped)
            yield name, f"cut to {at} bytes", whole[:at]
        older = place.models / "0001" / name
        if older.exists():
            yield name, OLDER, older.read_bytes()
    current = json.loads(place.current.read_text())
    manifest = json.loads((place.models / "0001" / "manifest.json").read_text())
    yield (
        "current.json",
        "the retired version with the digest of the other",
        json.dumps({**current, "version": "0001"}).encode(),
    )
    retired = {**current, "version": "0001", "sha256": manifest["sha256"]}
    yield "current.json", OLDER, json.dumps(retired).encode()
    yield "current.json", "a version that is nowhere", json.dumps({**retired, "version": "../0001"}).encode()
    newest = json.loads((place.models / "0002" / "manifest.json").read_text())
    yield "manifest.json", "another digest", json.dumps({**newest, "sha256": "0" * 64}).encode()
    yield "manifest.json", "another number of bytes", json.dumps({**newest, "bytes": 1}).encode()


def _spoil(place: Place, ways: list[Spoilt]) -> list[list[str]]:
    files = _files(place)
    right = {name: path.read_bytes() for name, path in files.items()}
    good = registry.load(place.models / "0002")[1].sha256
    found = []
    for name, _words, data in ways:
        files[name].write_bytes(data)
        older = {registry.read_manifest(place.models / "0001").sha256} if name == "current.json" else set()
        found.append(_refused_or_same(place, {good} | older))  # until a tick mends it, it may name an older one
        files[name].write_bytes(right[name])
    return found


def _older_pair(place: Place) -> list[str]:
    """Model and manifest of the older version, which fit each other, in the place of those that serve."""
    good = registry.load(place.models / "0002")[1].sha256
    for name in ("model.pkl", "manifest.json"):
        (place.models / "0002" / name).write_bytes((place.models / "0001" / name).read_bytes())
    return _refused_or_same(place, {good})


def _refused_or_same(place: Place, known: set[str]) -> list[str]:
    """Whatever the files say, what loads is the model that the book knows."""
    try:
        current = registry.current(place.models)
        assert current is not None
        data, _manifest = registry.verified(registry.version_path(place.models, current.version), current.sha256)
    except registry.ModelRefused:
        return []
    except ValueError as error:
        return [f"not refused in words: {type(error).__name__}: {error}"]
    return [] if hashlib.sha256(data).hexdigest() in known else ["a model that no book knows was taken"]


def _served(place: Place, name: str, data: bytes) -> list[str]:
    """A server that is at work serves on, one that starts now refuses or serves the same; the next tick that has work
    mends it, with another model if need be, and says so.
    """
    server, told = Server(Home(place.root), pause=0), sink.heard(place)
    right, good = _files(place)[name].read_bytes(), server.portfolio(place.name).manifest.sha256
    _files(place)[name].write_bytes(data)
    older = {registry.read_manifest(place.models / "0001").sha256} if name == "current.json" else set()
    wrong = [] if server.portfolio(place.name).manifest.sha256 in {good} | older else ["the server changed to it"]
    with suppress(Refused):
        if Server(Home(place.root), pause=0).portfolio(place.name).manifest.sha256 not in {good} | older:
            wrong.append("a server that started took it")
    if name == "current.json":
        return wrong + _written_anew(place, right)
    kit.drop(place, "more.csv", kit.rows(7, 5))
    wrong += _mended(place)
    serves = Server(Home(place.root), pause=0).portfolio(place.name).manifest
    anew = serves.version == "0003" and sink.heard(place)["promotion"] > told["promotion"]
    return wrong if anew or serves.sha256 == good else [*wrong, f"then {serves.version} serves"]


def _barred(place: Place) -> list[str]:
    """Somebody puts back what was there before a rollback: its portfolio is not ready, and the next tick says so."""
    before = place.current.read_bytes()
    kit.command("rollback", place, version=None, reason="tried")
    right = place.current.read_bytes()
    place.current.write_bytes(before)
    said = overview.standing(Server(Home(place.root), pause=0), place.name)
    return [*([] if said.barred else [f"a barred model serves, and it is said: {said}"]), *_written_anew(place, right)]


def _written_anew(place: Place, right: bytes) -> list[str]:
    """The next tick writes current.json, and tells by status, log and alert if it had named another model, or none."""
    try:
        was, wanted = json.loads(place.current.read_bytes()), json.loads(right)
        same = all(was[key] == wanted[key] for key in ("version", "sha256"))
    except (ValueError, TypeError, KeyError):
        same = False
    before = sink.heard(place)
    statuses = [kit.tick(place), kit.tick(place)]
    wrong = oracle.standing(place)
    if statuses != [0 if same else 1, 0]:
        wrong.append(f"the ticks that came ended with {statuses}")
    if place.current.read_bytes() != right:
        wrong.append("the next tick did not mend it")
    heard = {kind: sink.heard(place)[kind] - before[kind] for kind in ("failure", "recovery")}
    return wrong if same or heard == {"failure": 1, "recovery": 1} else [*wrong, f"of it was heard {heard}"]


def _mended(place: Place) -> list[str]:
    status = kit.tick(place)
    return [*oracle.standing(place), *([f"the next tick ended with {status}"] if status else [])]
