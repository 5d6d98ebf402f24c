"""A client erased from a portfolio: rows, predictions, lists, files, pages, outputs of notebooks, and the book.

What is to be done is written down first (``forgetting.json``), and that goes last: a call that was cut short is
finished by the next one, or by the next tick. Each step may be repeated. Who it was is kept as a salted hash alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrition import bookkeeping, params, publish, registry, safe, scratch, scrub, site
from attrition.book import Book
from attrition.home import MANIFEST, Place, UsageError
from attrition.pages.notebook import NotebookError
from attrition.params import Portfolio
from attrition.runs import Run, published
from attrition.scrub import Whom

__all__ = ["begin", "finish", "hashed", "known", "pending"]

WHY_NOT = "a client whose rows it rested on was forgotten on {}"

# Without the id, as what is said may stand in a log.
RENAMED = (
    "The client was known by another id before, and runs of that time may hold it: if it was nobody else's, put its "
    "column into the YAML as id, forget by it too, and put the YAML back."
)


def hashed(client: str, salt: str) -> str:
    """What is kept of a client's id: scrypt of it, with a salt of its own, in hex."""
    return hashlib.scrypt(client.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=32).hex()


def pending(place: Place) -> bool:
    """Whether a client is being forgotten, by a call that was cut short."""
    return safe.exists(place.forgetting)


def begin(place: Place, portfolio: Portfolio, client: str, *, reason: str, by: str, at: str) -> None:
    """Write down what is to be done; the caller holds the lock, and calls `finish`.

    Raises:
        UsageError: the portfolio names no id, what is given cannot be read as one, or the reason tells who it is.
    """
    if portfolio.id is None:
        raise UsageError(f"{place.name}: its YAML names no id: there is nothing by which to find a client")
    if not client.strip() or client != client.strip() or not client.isprintable():
        raise UsageError("the client's id is empty, or has spaces around it")
    from attrition.store import whose

    found = whose.named(portfolio, client)
    if found is None:  # nobody, however often it is asked: it would be said to be done
        raise UsageError(
            f"{place.name}: what is given as the client's id is no {portfolio.columns[portfolio.id].type}, as "
            f"{portfolio.id!r} is by {place.params}: write it as a file has it, or as pages show it"
        )
    if any(Whom(each, portfolio).token.search(reason) for each in (client, found)):
        raise UsageError("--reason names the client, and is kept: say it without the id")
    salt = secrets.token_hex(16)
    about = {
        "client": found,
        "id": portfolio.id,
        "reason": reason,
        "by": by,
        "at": at,
        "salt": salt,
        "rows": None,
        "since": None,
    }
    safe.write(place.forgetting, json.dumps(about))


def finish(place: Place, book: Book) -> dict[str, Any] | None:
    """Do what is written down, from its beginning; what was done already is found done.

    The caller holds the lock, and runs whose process is gone are closed.

    Returns:
        ``run``, ``rows`` (of clients/), ``files`` (rewritten or removed), ``note`` (of damaged files that went as a
        whole, of folders of processes that are gone which did not, of another id that the client had before; mostly
        empty); None where nothing is written down.

    Raises:
        OSError: a file cannot be read or written at the moment; the next tick goes on.
        UsageError: the YAML lacks the column by which the client was named.
    """
    if not pending(place):
        return None
    about = json.loads(place.forgetting.read_text(encoding="utf-8").strip("0") or "null")
    if about is None:  # killed when all was done, and the name of the client written over
        _end(place)
        return None
    portfolio = params.load(place.params)
    whom = Whom(about["client"], _as_begun(place, portfolio, about))
    if about["rows"] is None:  # counted before the first is gone, so that a crash cannot make it fewer
        about |= scrub.count(place, whom)  # and what tells of his rows elsewhere: those of clients/ go first
        about["runs"] = book.state().runs
        safe.write(place.forgetting, json.dumps(about))
    whom = Whom(whom.client, whom.portfolio, about.get("numbered"))
    files = scrub.tables(place, whom)
    files += scrub.lists(place, whom)
    files += scrub.drops(place, whom)
    changed = _runs(place, whom, about)
    files += _cleaned(place, place.opened, whom, about)  # with what somebody laid beside the stages that he opened
    files += len(changed) + _manifests(place, whom, about) + scrub.logs(place, whom)
    number = book.state().runs + 1
    run = _record(place, portfolio, book, about)
    line = {"salt": about["salt"], "hash": hashed(about["client"], about["salt"]), "at": about["at"], "run": run.name}
    line |= {"reason": about["reason"], "rows": about["rows"], "data_version": scrub.version(place)}
    bookkeeping.strike(place.book, whom.clean, line)
    _pages(place, portfolio, book, changed, number)
    for folder in (place.data, place.models, place.executed):  # an earlier call was killed in any of them
        safe.sweep(folder, deep=True)
    left = scratch.sweep()
    safe.write(place.forgetting, b"0" * len(json.dumps(about)))
    _end(place)
    said = f"Could not be removed, and may hold the client: {', '.join(map(str, left))}." if left else ""
    note = " ".join(filter(None, (_note(about), said)))
    return {"run": run.name, "rows": about["rows"], "files": files, "note": note}


def _as_begun(place: Place, portfolio: Portfolio, about: Mapping[str, Any]) -> Portfolio:
    """The portfolio with the id by which the client was named: by another it would be somebody else."""
    name = about.get("id", portfolio.id)
    if name not in portfolio.columns:
        raise UsageError(
            f"{place.params}: a client is being forgotten by {name!r}, which is no column now: put it back"
        )
    return portfolio.model_copy(update={"id": name})


def _end(place: Place) -> None:
    safe.unlink(place.forgetting)


def _runs(place: Place, whom: Whom, about: dict[str, Any]) -> list[Run]:
    """Clean the folders of all runs; those that rest on the rows are marked. The runs that changed."""
    found = []
    for folder in published(place):
        run = Run.read(folder)
        cleaned = _cleaned(place, folder, whom, about)
        rests = about["rows"] and int(run.report["data_version"] or 0) >= about["since"]
        if rests and "not_replayable" not in run.report and run.report["stages"]:
            run.note(not_replayable=f"{WHY_NOT.format(about['at'][:10])}.")
            cleaned = True
        if cleaned:
            found.append(Run.read(folder))
    return found


def _cleaned(place: Place, folder: Path, whom: Whom, about: dict[str, Any]) -> bool:
    try:
        return scrub.run(folder, whom, opened=folder == place.opened)
    except scrub.Damaged as error:
        name = whom.clean(str(error.path.relative_to(place.executed)))  # who works there may call a file by his id
        _gone(place, error.path, about, "torn", name)
        _cleaned(place, folder, whom, about)
        return True


def _manifests(place: Place, whom: Whom, about: dict[str, Any]) -> int:
    """Mark the models that may rest on the rows, and take the client out of their golden rows."""
    changed = 0
    for folder in safe.entries(place.models, "[0-9]*") if about["rows"] else ():
        try:
            manifest = registry.read_manifest(folder)
        except registry.ModelUnreadable as error:
            raise error.passing() from None
        except registry.ModelRefused:
            changed += _damaged(place, folder, about)
            continue
        if manifest.data_version < about["since"] or manifest.not_replayable:
            continue
        why = f"It cannot be made again: {WHY_NOT.format(about['at'][:10])}."
        # Golden rows are clients without their id, and nothing tells whose they are: none is kept.
        registry.rewrite(folder, not_replayable=why, golden=None)
        changed += 1
    return changed


def _damaged(place: Place, folder: Path, about: dict[str, Any]) -> int:
    """Remove a manifest by which its model cannot be loaded any more: what is in it nobody can tell."""
    path = folder / MANIFEST
    if not safe.exists(path):
        return 0
    _gone(place, path, about, "damaged", folder.name)
    return 1


def _gone(place: Place, path: Path, about: dict[str, Any], kind: str, name: str) -> None:
    """Remove a damaged file, and note ``name`` first: afterwards nothing tells that it was there."""
    about[kind] = sorted({*about.get(kind, ()), name})
    safe.write(place.forgetting, json.dumps(about))
    safe.unlink(path)


def _note(about: dict[str, Any]) -> str:
    versions, files = (", ".join(about.get(kind, ())) for kind in ("damaged", "torn"))
    said = f"Manifests that were damaged went as a whole, of model {versions}: it cannot serve without."
    torn = f"Files that were damaged, or cut short, went as a whole: {files}."
    renamed = about.get("renamed", False)
    return " ".join([said] * bool(versions) + [torn] * bool(files) + [RENAMED] * renamed)


def _record(place: Place, portfolio: Portfolio, book: Book, about: dict[str, Any]) -> Run:
    """The run that says what was done: made once, whatever came between.

    Those that there were before are others, as of a rollback, or of another client's forgetting, in the same second.
    """
    stamp, before = about["at"].replace("-", "").replace(":", ""), about.get("runs", 0)
    since = [each for each in book.runs(limit=20) if each["number"] > before]
    earlier = [each for each in since if each["run"].startswith(f"{stamp}-") and each["manual"]]
    if earlier and safe.exists(place.executed / str(earlier[0]["run"]) / "index.html"):
        return Run.read(place.executed / str(earlier[0]["run"]))
    from attrition.commits import commit_run

    name, sequence = book.begin(stamp, about["at"], manual=True)
    state = book.state()
    facts: dict[str, Any] = {"manual": True, "data_version": scrub.version(place), "champion_before": state.champion}
    if state.champion:
        facts["model"] = {"version": state.champion, "sha256": book.model(state.champion)["sha256"]}
    run = Run.start(place, name, about["at"], {}, **facts)
    rows = f"{about['rows']:,} row{'' if about['rows'] == 1 else 's'} of clients/"
    reason = f"{about['by']} had a client forgotten: {rows}, and all that spoke of them. {about['reason']}"
    reason = " ".join(filter(None, (reason, _note(about))))
    run.end("completed", about["at"], reason=reason)
    publish.run_page(place, run, portfolio, book)
    commit_run(place, book, run, sequence)
    return run


def _pages(place: Place, portfolio: Portfolio, book: Book, changed: list[Run], number: int) -> None:
    """Write anew what pages say of the runs that changed, and of the clients who are left."""
    for run in changed:
        for line in run.report["stages"]:
            if line["report"] and safe.exists(run.folder / line["notebook"]):
                with suppress(NotebookError):  # damaged: its page stays, without the lines that named the client
                    publish.stage_page(run, line["notebook"])
        publish.run_page(place, run, portfolio, book)
    safe.remove(place.executed / "clients")
    safe.unlink(place.executed / "history.json")
    site.write(place, portfolio, book)
    last = -(-number // site.RUNS_A_PAGE)
    for page in range(1, last + 1):
        site.runs_page(place, portfolio, book, page)
    for model in book.models():
        site.model_page(place, portfolio, book, model["version"])


def known(place: Place, client: str) -> list[dict[str, Any]]:
    """The lines of the ledger that tell of this client: whoever has the id can prove that it was done."""
    from attrition.store import whose

    client = whose.named(params.load(place.params), client) or client
    lines = bookkeeping.forgotten(place.book)
    return [line for line in lines if hmac.compare_digest(hashed(client, line["salt"]), line["hash"])]
