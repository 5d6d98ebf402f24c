"""A past run executed once more from its record, and what comes out otherwise.

The notebooks are the run's own executed copies, without their outputs; parameters, YAML, rows, predictions, models and
the book are those that it began from. What it recorded, showed and trained is compared value by value.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from attrition import forks, kernels, params, past, record, registry, safe, scratch
from attrition.forks import Forks
from attrition.home import Place, UsageError
from attrition.kernels import CellFailed, Deadline
from attrition.runs import Run
from attrition.signals import Stop
from attrition.stage_runner import parameters_of

__all__ = ["VARIES", "Replay", "StageReplay", "replay"]

VARIES = {
    ("60_diagnose", "dependencies"): "what the package index said that day",
    ("80_report", "answers"): "whether an API was up, and how quickly it answered",
    ("30_train", "model"): "the seconds that training took",
}
"""What a stage records that may differ although nothing has changed. The cell that leaves it shows it too, so that
cell's other outputs are not compared either; of ``30_train`` all but the seconds is."""
SECONDS = "seconds"
MANIFEST = (
    "sha256",
    "data_version",
    "rows",
    "known",
    "left",
    "way",
    "mends",
    "change_version",
    "held_back",
    "trained_to",
)
LEARNT = ("features", "params", "metrics", "coefficients", "base", "usual", "golden")


@dataclass
class StageReplay:
    """How one stage came out."""

    stage: str
    compared: int = 0  # recorded values, tables, texts and pictures, coefficients and files
    differences: list[str] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)


@dataclass
class Replay:
    """How a run came out."""

    run: str
    stages: list[StageReplay]
    lost: list[str]

    @property
    def same(self) -> bool:
        """Whether all that was compared is the same."""
        return not any(stage.differences for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"run": self.run, "same": self.same, "stages": [asdict(each) for each in self.stages], "lost": self.lost}


def replay(place: Place, name: str, stop: Stop, say: Callable[[str], None]) -> Replay:
    """Execute a published run's completed stages once more, in a scratch home that is removed afterwards.

    Raises:
        UsageError: there is no such run, or its record is not whole.
    """
    folder = place.executed / name
    if not safe.is_file(folder / "run.json") or safe.is_link(folder):
        raise UsageError(f"{place.name} has no run {name[:60]!r}")
    run = Run.read(folder)
    past.refuse(run)
    kernels.environment(place.cache)
    with tempfile.TemporaryDirectory(prefix=scratch.prefix("replay")) as root, forks.forking(say) as forked:
        then, lost = past.rebuild(place, run, Path(root).resolve())
        once_more = _Once(place, then, run, forked, stop)
        return Replay(name, [each for line in run.report["stages"] for each in once_more.stage(line)], lost)


class _Once:
    """One run, stage by stage."""

    def __init__(self, place: Place, then: Place, run: Run, forked: Forks, stop: Stop):
        self.place, self.then, self.run, self.forks, self.stop = place, then, run, forked, stop
        self.portfolio = params.load(then.params)
        self.staging = safe.make_folder(then.staging / run.name)
        self.broken = False
        if safe.exists(run.folder / "params"):
            safe.write(safe.make_folder(self.staging / "params") / then.params.name, then.params.read_bytes())

    def stage(self, line: Mapping[str, Any]) -> Iterator[StageReplay]:
        """Execute and compare a stage that completed; one that was taken over stands as it is."""
        recorded = self.run.folder / line["notebook"]
        fresh = self.staging / line["notebook"]
        if line["status"] == "reused":
            fresh.write_bytes(recorded.read_bytes())
        if line["status"] != "completed" or self.broken:
            return
        found = StageReplay(line["name"])
        self._account(line["name"])
        try:
            self._execute(recorded, fresh)
        except CellFailed as failed:
            self.broken = True
            found.differences.append(f"it fails: {failed}")
        else:
            swaps = {str(self.then.root): str(self.place.root), str(self.staging): str(self.run.folder)}
            _compare(found, recorded, fresh, swaps)
            self._files(found)
        yield found

    def _execute(self, recorded: Path, fresh: Path) -> None:
        given = parameters_of(recorded) | {"home": str(self.then.root), "staging": str(self.staging)}
        if "drops" in given:
            given["drops"] = [str(path) for path in past.return_drops(self.place, self.then, self.run)]
        source = safe.make_folder(self.then.root / "notebooks") / recorded.name
        source.write_text(json.dumps(_source(recorded)), encoding="utf-8")
        limit = self.portfolio.deadline
        kernels.execute(
            source,
            fresh,
            given,
            forks=self.forks,
            deadline=Deadline(limit, f"not done within {limit:g} s, the deadline of a stage"),
            stop=self.stop,
        )

    def _account(self, stage: str) -> None:
        """Write run.json as it was when the stage began."""
        report = json.loads(json.dumps(self.run.report)) | {"status": "running", "finished_at": None}
        names = [line["name"] for line in report["stages"]]
        for line in report["stages"][names.index(stage) :]:
            if line["status"] in ("completed", "failed", "interrupted"):
                line.update(status="running" if line["name"] == stage else "pending", seconds=None, report=None)
        Run(self.staging, report).write()

    def _files(self, found: StageReplay) -> None:
        """Compare what the stage left beside its notebook."""
        if found.stage == "ingest":
            self._ingested(found)
        if found.stage == "train":
            self._trained(found)
        if found.stage == "assess":
            self._assessed(found)

    def _ingested(self, found: StageReplay) -> None:
        then, now = (json.loads((each / "ingest.json").read_text()) for each in (self.run.folder, self.staging))
        _same(found, "ingest.json", _without(then, "bytes", "sha256"), _without(now, "bytes", "sha256"))
        version = int(self.run.report["data_version"])
        past.advance(self.place, self.then, version)
        if now["files"]:
            staged = [self.staging / "rows" / part["path"] for part in now["files"]]
            _rows(found, "rows/", safe.entries(self.then.clients, "*.parquet"), staged, f"_version = {version}")

    def _trained(self, found: StageReplay) -> None:
        now = registry.read_manifest(self.staging / "model")
        published = self.place.models / now.version
        kept = published if safe.exists(published) else self.run.folder / "model"
        then = registry.read_manifest(kept)
        for name in (*MANIFEST, *LEARNT):
            _same(found, f"the model's {name}", getattr(then, name), getattr(now, name))

    def _assessed(self, found: StageReplay) -> None:
        name = "assessed.parquet"
        _rows(found, name, [self.run.folder / name], [self.staging / name])


def _source(executed: Path) -> dict[str, Any]:
    """The notebook as it was before it was executed."""
    notebook: dict[str, Any] = json.loads(executed.read_text(encoding="utf-8"))
    tagged = [(cell, cell["metadata"].get("tags", ())) for cell in notebook["cells"]]
    notebook["cells"] = [cell for cell, tags in tagged if "injected-parameters" not in tags]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return notebook


def _compare(found: StageReplay, recorded: Path, fresh: Path, swaps: Mapping[str, str]) -> None:
    """Hold the outputs of two executions of one notebook against each other, cell by cell."""
    text = fresh.read_text(encoding="utf-8")
    for here, there in sorted(swaps.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(json.dumps(here)[1:-1], json.dumps(there)[1:-1])
    both = [json.loads(recorded.read_text(encoding="utf-8")), json.loads(text)]
    cells = [[cell for cell in each["cells"] if cell["cell_type"] == "code"] for each in both]
    for number, (then, now) in enumerate(zip(*cells, strict=True), 1):
        if "injected-parameters" in then["metadata"].get("tags", ()):
            continue
        varies = {name for name in _values(then) if (recorded.stem, name) in VARIES}
        found.not_compared += [f"{name}: {VARIES[recorded.stem, name]}" for name in sorted(varies)]
        _values_compared(found, then, now, varies)
        if not varies:
            _shown_compared(found, number, then, now)


def _values_compared(found: StageReplay, then: Any, now: Any, varies: set[str]) -> None:
    one, other = _values(then), _values(now)
    for name in sorted(one.keys() | other.keys()):
        if name in varies and name != "model":
            continue
        a, b = (each.get(name) for each in (one, other))
        if name == "model" and isinstance(a, dict) and isinstance(b, dict):
            a, b = _without(a, SECONDS), _without(b, SECONDS)
        _same(found, name, a, b)


def _shown_compared(found: StageReplay, number: int, then: Any, now: Any) -> None:
    """Tables, texts and pictures, in the order in which they were shown."""
    one, other = _shown(then), _shown(now)
    if len(one) != len(other):
        found.differences.append(f"cell {number} shows {len(other)} things, then {len(one)}")
    for (kind, a), (_, b) in zip(one, other, strict=False):
        found.compared += 1
        if a != b:
            found.differences.append(f"cell {number}: its {kind} differs{'' if kind == 'image/png' else _first(a, b)}")


def _values(cell: Mapping[str, Any]) -> dict[str, Any]:
    bodies = [output.get("data", {}).get(record.MIME) for output in cell["outputs"]]
    return {body["name"]: body["data"] for body in bodies if body}


def _shown(cell: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            text = "".join(output["text"])
            if found and found[-1][0] == output["name"]:  # a text may come in any number of pieces
                text = found.pop()[1] + text
            found.append((output["name"], text))
        for kind, content in output.get("data", {}).items():
            if kind != record.MIME:
                found.append((kind, content if isinstance(content, str) else json.dumps(content)))
    return found


def _same(found: StageReplay, name: str, then: Any, now: Any) -> None:
    found.compared += 1
    if then != now:
        found.differences.append(f"{name}{_path(then, now)}")


def _path(then: Any, now: Any, at: str = "") -> str:
    """Where two values differ first, and in what."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in [*then, *(key for key in now if key not in then)]:
            if then.get(key) != now.get(key):
                return _path(then.get(key), now.get(key), f"{at}.{key}")
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for place, (a, b) in enumerate(zip(then, now, strict=True)):
            if a != b:
                return _path(a, b, f"{at}[{place}]")
    return f"{at}: then {_short(then)}, now {_short(now)}"


def _first(then: str, now: str) -> str:
    lines = zip(then.splitlines(), now.splitlines(), strict=False)
    return next((f": then {_short(a)}, now {_short(b)}" for a, b in lines if a != b), ": one is longer")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _without(value: Any, *names: str) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, *names) for key, each in value.items() if key not in names}
    return [_without(each, *names) for each in value] if isinstance(value, list) else value


def _rows(found: StageReplay, name: str, then: Iterable[Path], now: Iterable[Path], where: str = "true") -> None:
    """Compare the rows of Parquet files, each as often as it is there."""
    from attrition.store.engine import connect, rows_in

    found.compared += 1
    with connect() as db:
        one, other = (f"SELECT * FROM {rows_in(sorted(files))} WHERE {where}" for files in (then, now))  # noqa: S608
        query = f"SELECT count(*) FROM (({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one}))"  # noqa: S608
        (off,) = db.execute(query).fetchone()
    if off:
        found.differences.append(f"{name}: {off:,} lines are in one of the two only")
