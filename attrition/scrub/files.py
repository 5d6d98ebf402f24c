"""One client taken out of drops, of the folders of runs, and of logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrition import record, safe
from attrition.home import MODEL, Home, Place
from attrition.scrub.reading import is_text, lines_in, lines_of
from attrition.scrub.rows import Damaged, assessment
from attrition.scrub.texts import cut, fields_of, in_file, written_over
from attrition.scrub.whom import GONE, Whom

__all__ = ["drops", "logs", "run"]

RECORDS = (".json", ".html", ".jsonl", ".yaml", ".txt")
"""Texts that stages leave, and what runs say."""
BEGIN = 4096
"""Bytes of a file in which there is a zero if it is no text, such as a pickle of a table."""


def drops(place: Place, whom: Whom) -> int:
    """Drops that hold the client go, as their rows are in clients/; of rejected rows and test data only the lines do.

    What a file holds is asked of the reader that took it in, as a file may write the id otherwise than the tables do:
    001000017, 1 000 017, "O""Neil". Then its text is looked through, for other columns, and what no reader can open.
    What is packed goes as a whole. A file in incoming/ stays: it is taken in by the next tick, and the client with it.
    """
    from attrition.store import whose

    changed = 0
    asked: dict[str, Any] = {"portfolio": whom.portfolio, "client": whom.client, "anywhere": not whom.plain}
    for path in sorted(safe.below(place.taken)):
        if safe.is_file(path) and (whose.holds(path=path, **asked) or in_file(path, whom)):
            safe.unlink(path)
            changed += 1
    for path in (*sorted(safe.below(place.quarantine)), *sorted(safe.below(place.test))):
        if safe.is_file(path) and ((his := whose.lines(path=path, **asked)) or in_file(path, whom)):
            changed += cut(path, whom, his)
    return changed


def run(folder: Path, whom: Whom, *, opened: bool = False) -> bool:
    """Clean all files of a run's folder; whether one held the client. Its pages are to be written anew.

    ``opened``: it is a copy that somebody works in, who may have written files of any kind there.

    Raises:
        Damaged: a file is not whole, as a stage leaves it that was killed: nobody can tell whose rows are in it.
    """
    safe.clear(folder)
    files = [path for path in sorted(safe.below(folder)) if safe.is_file(path)]
    cleaned = [_file(path, whom) or (opened and _other(path, whom)) for path in files]
    return any(cleaned)


def logs(place: Place, whom: Whom) -> int:
    """Write over the lines of logs that name the client, and cut the id out of alerts that wait."""
    changed = 0
    waiting = place.data / "alerts.json"
    if safe.exists(waiting) and _said(waiting, whom):
        _page_or_account(waiting, whom)
        changed = 1
    root = Home(place.root).root
    # In executed/ are those that the lines of `schedule` name.
    for path in (
        *safe.entries(root, "*.log*"),
        *safe.entries(root / "logs"),
        *safe.entries(place.executed.parent, "*.log*"),
    ):
        if safe.is_file(path) and in_file(path, whom):
            changed += written_over(path, whom)
    return changed


def _file(path: Path, whom: Whom) -> bool:
    if path.suffix == ".parquet":
        return assessment(path, whom)
    try:
        if path.suffix == ".ipynb":
            return _notebook(path, whom)
        if path.suffix in RECORDS and _said(path, whom):
            _page_or_account(path, whom)
            return True
    except ValueError as error:  # what should be JSON is not
        if whom.token.search(path.read_text(encoding="utf-8", errors="replace")):
            raise Damaged(path) from error
    return False


def _other(path: Path, whom: Whom) -> bool:
    """Clean a file such as no stage leaves: a CSV, a pickle, that somebody made of a table; a model holds no client."""
    if path.suffix in (*RECORDS, ".ipynb") or path.name == MODEL:
        return False
    if path.suffix == ".parquet" and {"id", str(whom.portfolio.id)} & {*fields_of(next(lines_of(path), ""), ",")}:
        return False  # without his rows already
    with path.open("rb") as file:
        head = file.read(BEGIN)
        if is_text(head) and b"\0" in head:  # a pickle may have no sign between one text and the next
            if whom.plain or whom.client.encode() not in head + file.read():
                return False
            safe.unlink(path)
            return True
    return in_file(path, whom) and bool(cut(path, whom))


def _notebook(path: Path, whom: Whom) -> bool:
    """Clean what an executed notebook recorded; a table or text that names the client goes as a whole."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    before = json.dumps(notebook)
    if not whom.token.search(before):
        return False
    for cell in notebook["cells"]:
        cell["outputs"] = [_output(output, whom) for output in cell["outputs"]] if "outputs" in cell else []
        if cell["cell_type"] != "code":
            del cell["outputs"]
    if not whom.plain:
        notebook = whom.without(notebook)
    if json.dumps(notebook) == before:
        return False
    safe.write(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return True


def _output(output: dict[str, Any], whom: Whom) -> dict[str, Any]:
    data = output.get("data", {})
    if body := data.get(record.MIME):
        return {**output, "data": {**data, record.MIME: {**body, "data": whom.without(body["data"])}}}
    told = json.dumps({key: each for key, each in data.items() if key != "image/png"})
    if whom.in_text(told):
        return {**output, "data": {"text/plain": GONE}}
    if output["output_type"] == "stream" and whom.in_text("".join(output["text"])):
        return {**output, "text": f"{GONE}\n"}
    return output


def _page_or_account(path: Path, whom: Whom) -> None:
    """A page is written anew afterwards; what is no page is cleaned where it stands."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    if path.suffix == ".json":
        text = json.dumps(whom.without(json.loads(text)), indent=1, ensure_ascii=False) + "\n"
    else:
        text = "".join(line for line in lines_in(text) if not whom.token.search(line))
    safe.write(path, text.encode("utf-8", errors="surrogateescape"))


def _said(path: Path, whom: Whom) -> bool:
    """Whether a text file speaks of the client; of a plain number, only JSON by its keys, and pages that it was on."""
    if whom.plain and path.suffix == ".yaml":  # a portfolio's, of a run with -p: its numbers are settings
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    if not whom.plain or path.suffix != ".json":
        return bool(whom.token.search(text)) and (not whom.plain or whom.in_text(text))
    value = json.loads(text)
    return bool(whom.without(value) != value)
