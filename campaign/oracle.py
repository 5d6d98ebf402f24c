"""What must be true after every fault, written once. Each check returns what it found wrong, in words.

`standing` holds at every moment, also between the fault and the tick that mends; `settled` holds when that tick has
ended; `outcome` is where a portfolio stands, told so that two histories of the same input can be compared.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from attrition import alerts, bookkeeping, params, registry, safe
from attrition.book import Book
from attrition.book_file import Unreadable
from attrition.home import Place
from attrition.store.clients import Clients
from campaign import sink

__all__ = ["closed", "differences", "given", "holding", "mending", "outcome", "running", "settled", "standing"]

ENDS = {"completed", "failed", "interrupted"}
COUNTS = ("rows_in", "ingested", "duplicates", "quarantined")


def given(place: Place) -> dict[str, int]:
    """SHA-256 and rows of all drops that a home was given so far, wherever they are by now."""
    found: dict[str, int] = {}
    for path in _drops(place):
        found[safe.sha256(path)] = _rows(path)
    return found


def _drops(place: Place) -> list[Path]:
    waiting = [path for path in place.incoming.iterdir() if not path.name.startswith(".")]
    away = [path for folder in (place.taken, place.quarantine) for path in folder.rglob("*") if path.is_file()]
    return [path for path in waiting + away if path.suffix not in (".jsonl", ".done")]


def _rows(path: Path) -> int:
    if path.suffix == ".parquet":
        ((count,),) = (
            duckdb.connect().execute("SELECT count(*) FROM read_parquet($file)", {"file": str(path)}).fetchall()
        )
        return int(count)
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return max(0, sum(1 for line in csv.reader(file) if line) - 1)


# ---- at every moment


def standing(place: Place) -> list[str]:
    """No torn or unverified model is named, and no file that was published is torn."""
    faults = []
    try:
        current = registry.current(place.models)
        if current:
            registry.verified(registry.version_path(place.models, current.version), current.sha256)
            faults += _committed(place, current.version, current.sha256)
    except registry.ModelRefused as error:
        faults.append(f"what serves is refused: {error}")
    for path in place.executed.glob("[12]*/run.json"):
        try:
            if json.loads(path.read_text())["status"] not in ENDS:
                faults.append(f"{path.parent.name} is published as running")
        except ValueError:
            faults.append(f"{path} is torn")
    return faults


def _committed(place: Place, version: str, digest: str) -> list[str]:
    try:
        with Book.open(place.book, read_only=True) as book:
            known = {model["version"]: model["sha256"] for model in book.models()}
    except Unreadable:  # a journal is left: the next tick rolls it back
        return []
    return [] if known.get(version) == digest else [f"model {version} serves and the book does not know it"]


def running(place: Place) -> list[str]:
    """Runs that are at work, or were when their process was killed."""
    accounts = ((path.parent.name, json.loads(path.read_text())) for path in place.staging.glob("*/run.json"))
    return [name for name, account in accounts if account["status"] == "running"]


def closed(place: Place, runs: list[str]) -> list[str]:
    """What was cut short is told to be interrupted."""
    ends = {name: json.loads((place.executed / name / "run.json").read_text())["status"] for name in runs}
    return [
        f"{name} was killed, and is told to be {status}" for name, status in ends.items() if status != "interrupted"
    ]


# ---- when it was put right


def settled(place: Place, drops: dict[str, int], *, restored: bool = False, replaced: bool = False) -> list[str]:
    """Every row is accounted for, nothing is open, and each file that was committed is the one that was meant.

    A home that was ``restored`` lacks the parts that its table no longer names, and what a run that was at work had
    staged. The content is gone of what was pruned, of drops out of which a client was taken, and, where drops are
    ``replaced`` while they are read, of those; the run's account or the book tells so.
    """
    portfolio = params.load(place.params)
    with Book.open(place.book, read_only=True) as book:
        runs = book.runs(limit=10_000)
        ledger = [line for run in runs for line in book.drops(run["run"])]
        models = book.models()
        state = book.state()
        open_runs = book.unfinished()
        deployed = book.deployments(1)
    faults = [*standing(place), *(f"{run} is still open" for run in open_runs)]
    faults += _ledger(place, ledger, drops, replaced=replaced)
    faults += _table(place, portfolio, ledger, restored)
    faults += _scored(place, portfolio, state.champion)
    speaking = {state.champion, state.challenger}
    for line in models:
        if line["version"] in speaking or (place.models / line["version"]).exists() or not _pruned(place):
            faults += _model(place, line)
    current = registry.current(place.models)
    if (current.version if current else None) != state.champion:
        faults.append(f"current.json names {current and current.version}, the book {state.champion}")
    if current and (current.run, current.proven) != (deployed[0]["run"], deployed[0]["proven"]):
        faults.append("current.json and the newest deployment differ")
    if (state.data_version, state.scores_owed) != (state.judged_version, False):
        faults.append(f"rows up to {state.data_version}, judged to {state.judged_version}, owed {state.scores_owed}")
    return faults + _record(place, runs) + _left_over(place) + _alerted(place, runs)


def _alerted(place: Place, runs: list[dict[str, Any]]) -> list[str]:
    """Who is to be told was told: of each first trouble, of its end, and of each decision; twice rather than never."""
    if not (place.root / alerts.FILE).exists():
        return []
    regular = [run for run in reversed(runs) if not run["manual"]]
    bad = [run["status"] != "completed" for run in regular]
    turns = list(zip([False, *bad], bad, strict=False))
    due = {"failure": turns.count((False, True)), "recovery": turns.count((True, False))}
    for decision, kind in (("promoted", "promotion"), ("kept", "promotion refused")):
        due[kind] = sum(run["decision"] == decision for run in regular)
    heard = sink.heard(place)
    return [f"{count} times {kind}, told {heard[kind]} times" for kind, count in due.items() if heard[kind] < count]


def _accounts(place: Place) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in place.executed.glob("[12]*/run.json")]


def _pruned(place: Place) -> set[str]:
    """Runs whose files went by order."""
    return {account["run"] for account in _accounts(place) if "pruned" in account}


def _ledger(place: Place, ledger: list[dict[str, Any]], drops: dict[str, int], *, replaced: bool) -> list[str]:
    faults, pruned = [], _pruned(place)
    struck = max((_number(line["run"]) for line in bookkeeping.forgotten(place.book)), default=0)
    lost = {(account["run"], name) for account in _accounts(place) for name in account.get("not_kept", [])}
    faults += [f"{name} of {run} was not kept" for run, name in lost if not replaced]
    for line in ledger:
        if line["rows_in"] != line["ingested"] + line["duplicates"] + line["quarantined"]:
            faults.append(f"{line['name']}: the sums do not agree")
        if (line["run"] in pruned and line["moved_to"] == "taken") or (line["run"], line["name"]) in lost:
            continue
        if _number(line["run"]) < struck:  # a drop with the client is gone, and which one it was nobody knows
            continue
        if line["moved_to"] == "taken" and drops.get(line["sha256"]) != line["rows_in"]:
            faults.append(f"{line['name']}: {line['rows_in']} rows in, the file has {drops.get(line['sha256'])}")
        if not _lies(place, line):
            faults.append(f"{line['name']}: not found where the ledger says")
    if struck:
        return faults
    known = {line["sha256"] for line in ledger}
    faults += [f"a drop of {rows} rows is in no ledger" for sha256, rows in drops.items() if sha256 not in known]
    set_aside = sum(1 for path in place.quarantine.rglob("*.jsonl") for _ in path.open())
    wanted = sum(line["quarantined"] for line in ledger if line["moved_to"] == "taken")
    return faults + ([] if set_aside == wanted else [f"{set_aside} rows in quarantine/, {wanted} in the ledger"])


def _number(run: str) -> int:
    return int(run.rpartition("-")[2])


def _lies(place: Place, line: dict[str, Any]) -> bool:
    folder = (place.taken if line["moved_to"] == "taken" else place.quarantine) / line["run"]
    return any(safe.sha256(path) == line["sha256"] for path in folder.glob(f"{line['name']}*") if path.is_file())


def _scored(place: Place, portfolio: params.Portfolio, champion: str | None) -> list[str]:
    """No run scored a row twice, and the list has each client once, in order and band, by the model that serves."""
    files = DeltaTable(str(place.scores)).file_uris() if (place.scores / "_delta_log").exists() else []
    db = duckdb.connect()
    twice = "SELECT count(*) - count(DISTINCT (_row, run)) FROM read_parquet($files)"
    faults = ["a run scored a row twice"] if files and db.execute(twice, {"files": files}).fetchall() != [(0,)] else []
    if champion is None:
        return faults
    if not registry.read_manifest(registry.version_path(place.models, champion)).fits(portfolio):
        faults.append(f"model {champion} serves, and knows other features than the YAML names")
    if not place.ranking.exists():
        return [*faults, "a model serves, and no list says whom to call"]
    ranked = db.execute("SELECT * FROM read_parquet($file)", {"file": str(place.ranking)}).df()
    clients = set(Clients(portfolio, place.clients).frame([str(portfolio.id)])[portfolio.id])
    if sorted(ranked["id"]) != sorted(clients):
        faults.append(f"{len(ranked)} clients in the list, {len(clients)} in the table")
    if not ranked["rank"].is_unique or set(ranked["model_version"]) - {champion}:
        faults.append("two clients of the list have one rank, or another model than the champion ranked one")
    edges = portfolio.bands.medium, portfolio.bands.high
    bands = [("low", "medium", "high")[sum(risk >= edge for edge in edges)] for risk in ranked["probability"]]
    if bands != [*ranked["band"]]:
        faults.append("a client of the list is in another band than that of the YAML")
    return faults


def _table(place: Place, portfolio: params.Portfolio, ledger: list[dict[str, Any]], restored: bool) -> list[str]:
    clients = Clients(portfolio, place.clients)
    rows = clients.frame()
    columns = [*portfolio.columns, portfolio.target.column]
    faults = []
    gone = sum(line["rows"] for line in bookkeeping.forgotten(place.book))
    if list(rows["_row"]) != list(range(1, len(rows) + 1)) and not gone:
        faults.append("the rows are not numbered 1, 2, 3 …")
    if rows[columns].duplicated().any():
        faults.append("a row is in the table twice")
    ingested = sum(line["ingested"] for line in ledger)
    if len(rows) != ingested - gone:
        faults.append(f"{len(rows)} rows in the table, by the ledger {ingested} ingested and {gone} forgotten")
    with Book.open(place.book, read_only=True) as book:
        version = book.state().data_version
    if (there := _data_version(place)) != version:
        faults.append(f"the table is at version {there}, the book at {version}")
    for run in {line["run"] for line in ledger} - _pruned(place):
        faults += _parts(place, run, restored or bool(gone))
    return faults


def _data_version(place: Place) -> int:
    """The newest version of clients/ that changed a row; what makes few files of many does not."""
    table = DeltaTable(str(place.clients))
    newest = next(entry for entry in table.history() if "compacted" not in entry)
    return int(newest["version"])


def _parts(place: Place, run: str, restored: bool) -> list[str]:
    """What an ingest staged has the SHA-256 that its manifest says, and is what the table holds."""
    account = place.executed / run / "ingest.json"
    if restored and not account.exists():
        return []
    manifest = json.loads(account.read_text())
    parts = [(place.clients / part["path"], part["sha256"]) for part in manifest["files"]]
    compacted = restored or any(place.clients.glob("compact-*.parquet"))  # then a part may be gone after a while
    return [
        f"{path.name} is not what was staged"
        for path, digest in parts
        if not (compacted and not path.exists()) and safe.sha256(path) != digest
    ]


def _model(place: Place, line: dict[str, Any]) -> list[str]:
    try:
        registry.verified(registry.version_path(place.models, line["version"]), line["sha256"])
    except registry.ModelRefused as error:
        return [f"model {line['version']} of the book: {error}"]
    return []


def _record(place: Place, runs: list[dict[str, Any]]) -> list[str]:
    """Each run has an account and a page, which say what the book says; nothing is published that it does not know."""
    faults = []
    listing = "".join(path.read_text() for path in place.executed.glob("runs-*.html"))
    for line in runs:
        folder = place.executed / line["run"]
        if not (folder / "run.json").exists():
            faults.append(f"{line['run']} has no account")
            continue
        report = json.loads((folder / "run.json").read_text())
        if report["status"] != line["status"] or report["status"] not in ENDS:
            faults.append(f"{line['run']}: {report['status']} in run.json, {line['status']} in the book")
        if not report["reason"]:
            faults.append(f"{line['run']}: no reason")
        if not (folder / "index.html").exists():
            faults.append(f"{line['run']} has no page")
        if line["run"] not in listing:
            faults.append(f"{line['run']} is not in the list of runs")
    done = [line["run"] for line in runs if line["status"] == "completed"]
    if done and json.loads((place.executed / "latest.json").read_text())["run"] != done[0]:
        faults.append(f"{done[0]} completed last, and latest.json names another")
    known = {line["run"] for line in runs}
    return faults + [f"{path.name} is in no book" for path in place.executed.glob("[12]*") if path.name not in known]


def _left_over(place: Place) -> list[str]:
    staged = [path.name for path in place.staging.glob("*")]
    beside = [str(path.relative_to(place.root)) for path in place.root.rglob("*.tmp") if ".cache" not in path.parts]
    waiting = [path.name for path in place.incoming.iterdir() if not path.name.startswith(".")]
    hidden = [str(path.relative_to(place.executed)) for path in place.executed.glob("[12]*/**/.*")]
    lists = (("staged", staged), ("written beside", beside), ("unfinished", hidden), ("waiting", waiting))
    return [f"left {what}: {', '.join(names)}" for what, names in lists if names]


# ---- two histories of the same input


def outcome(place: Place) -> dict[str, Any]:
    """Where a portfolio stands, without the names of runs: an interrupted one more makes no difference."""
    portfolio = params.load(place.params)
    with Book.open(place.book, read_only=True) as book:
        state = book.state()
        ledger = [line for run in book.runs(limit=10_000) for line in book.drops(run["run"])]
        models = [(line["version"], line["sha256"], line["status"]) for line in book.models()]
        deployed = [(line["version"], line["proven"]) for line in book.deployments()]
        decisions = [run["decision"] for run in book.runs() if run["decision"]]
    rows = Clients(portfolio, place.clients).frame()
    values = ("data_version", "judged_version", "champion", "challenger", "evidence", "scored_version", "scored_model")
    found: dict[str, Any] = json.loads(
        json.dumps(
            {
                "rows": json.loads(rows.to_json(orient="values", date_format="iso")),
                "ledger": sorted((line["name"], line["moved_to"], *(line[c] for c in COUNTS)) for line in ledger),
                "state": {name: getattr(state, name) for name in values},
                "models": models,
                "deployed": deployed,
                "decisions": decisions,
                "taken": sorted(path.name for path in place.taken.rglob("*") if path.is_file()),
                "predictions": _predictions(place),
                "ranking": _ranking(place),
            }
        )
    )
    return found


def _predictions(place: Place) -> list[Any]:
    if not (place.scores / "_delta_log").exists():
        return []
    files = DeltaTable(str(place.scores)).file_uris()
    query = "SELECT _row, data_version, model_version, probability FROM read_parquet($files) ORDER BY ALL"
    return duckdb.connect().execute(query, {"files": files}).fetchall() if files else []


def _ranking(place: Place) -> list[Any]:
    if not place.ranking.exists():
        return []
    query = "SELECT rank, id, probability, model_version FROM read_parquet($file) ORDER BY rank"
    return duckdb.connect().execute(query, {"file": str(place.ranking)}).fetchall()


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """In what a portfolio stands elsewhere than after an undisturbed history."""
    return [
        f"{key}: {json.dumps(found[key])[:160]}, undisturbed {json.dumps(wanted[key])[:160]}"
        for key in wanted
        if found[key] != wanted[key]
    ]


# ---- what must be nowhere


def holding(root: Path, word: str) -> list[str]:
    """Files below a folder that hold a text as a word of its own: also in a row of Parquet, and in what is packed."""
    found = []
    pattern = re.compile(rb"\b%s\b" % re.escape(word.encode()))
    rows = "SELECT count(*) FROM read_parquet($file) AS row WHERE regexp_matches(CAST(row AS VARCHAR), $word)"
    for path in (path for path in root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content += gzip.decompress(content)
        given = {"file": str(path), "word": rf"\b{re.escape(word)}\b"}
        within = path.suffix == ".parquet" and duckdb.connect().execute(rows, given).fetchall() != [(0,)]
        found += [str(path)] if within or pattern.search(content) else []
    return found


def mending(statuses: list[int]) -> list[str]:
    """How the ticks ended that were done until nothing was left to do: the next one puts it right."""
    return [] if statuses == [0] else [f"not put right by the next tick: {statuses}"]
