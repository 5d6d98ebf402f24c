# ruff: noqa: S608 -- every name and text that enters SQL goes through `quoted` and `literal`
"""One client taken out of files: tables, lists, drops, notebooks, logs. Each function may be called again."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

from attrition import record, safe
from attrition.home import MODEL, Home, Place
from attrition.params import Portfolio

__all__ = ["Damaged", "Whom", "count", "drops", "lists", "logs", "run", "tables", "version"]

GONE = "[a client who was forgotten]"
PLAIN = re.compile(r"[0-9]{1,5}")
"""An id that any number may look like: text is cleaned of it only where it stands for a client."""
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
RECORDS = (".json", ".html", ".jsonl", ".yaml", ".txt")
"""Texts that stages leave, and what runs say."""
BEGIN = 4096
"""Bytes of a file in which there is a zero if it is no text, such as a pickle of a table."""
DELIMITERS = (",", ";", "\t", "|")
LINES, SIGNS = 10_000, 2**22
"""Of a file that are looked at at a time: a drop may have more than memory holds, and all of it in one line."""
OVERLAP = 2**12
"""Signs of a line that are looked at once more with its next piece: an id may begin in the one and end in the other."""
ENDS = ("\n", "\r")


class Damaged(Exception):
    """A file of a run of which nobody can tell whose rows are in it.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path):
        self.path = path
        super().__init__(f"{path} is not whole")


class Whom:
    """A client, and how to find it in what people and machines wrote.

    ``token`` finds the id as a word of its own. An id such as 17 is also a count, a version or an hour: of that, a text
    is left as it is unless it names clients (``names``). Of a whole number files may write zeros before it.
    """

    def __init__(self, client: str, portfolio: Portfolio):
        self.client, self.portfolio = client, portfolio
        self.plain = bool(PLAIN.fullmatch(client))
        forms = {client, json.dumps(client)[1:-1], _html(client), client.replace('"', '""')}
        words = "|".join(map(_pattern, sorted(forms, key=len, reverse=True)))
        zeros = "0*" if not self.plain and portfolio.columns[str(portfolio.id)].type == "integer" else ""
        self.token = re.compile(rf"(?<![\w.-])(?:{zeros}(?:{words}))(?![\w-]|\.\d)")
        self.keys = {"id", "client", portfolio.id}
        called = {"client", str(portfolio.id), portfolio.label(str(portfolio.id))}
        self.names = re.compile("|".join(re.escape(word) for word in sorted(called)), re.IGNORECASE)

    def in_text(self, text: str) -> bool:
        """Whether a text speaks of the client."""
        return bool(self.token.search(text)) and (not self.plain or bool(self.names.search(text)))

    def clean(self, text: str) -> str:
        """A text without the id; that of a plain number is only cut where the text names clients."""
        return self.token.sub(GONE, text) if not self.plain else text

    def without(self, value: Any) -> Any:
        """JSON without the entries that are of the client, and without the id in its texts."""
        if isinstance(value, dict):
            return {key: self.without(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.without(each) for each in value if not self._is(each)]
        return self.clean(value) if isinstance(value, str) else value

    def _is(self, value: Any) -> bool:
        if isinstance(value, dict):
            return any(str(value.get(key)) == self.client for key in self.keys if key in value)
        return not self.plain and value == self.client


def count(place: Place, whom: Whom) -> dict[str, int | None]:
    """How many rows of clients/ are the client's, and the data version that the first of them came with."""
    from attrition.store.clients import Clients
    from attrition.store.engine import quoted

    found = Clients(whom.portfolio, place.clients).sql(
        f"SELECT count(*) AS rows, min(_version) AS since FROM clients WHERE {_is(quoted(str(whom.portfolio.id)))}",
        client=whom.client,
    )
    rows = int(found["rows"].iloc[0])
    return {"rows": rows, "since": int(found["since"].iloc[0]) if rows else None}


def version(place: Place) -> int:
    """The newest version of clients/."""
    from deltalake import DeltaTable

    from attrition.store import delta

    return int(DeltaTable(str(place.clients)).version()) if delta.is_table(place.clients) else 0


def tables(place: Place, whom: Whom) -> int:
    """Rewrite the files of both tables that hold the client, and remove what the tables do not name any more."""
    from attrition.store.engine import quoted

    return sum(
        _table(folder, _is(quoted(column)), whom)
        for folder, column in ((place.clients, str(whom.portfolio.id)), (place.scores, "id"))
    )


def _table(folder: Path, is_client: str, whom: Whom) -> int:
    from deltalake import DeltaTable

    from attrition.store import delta, hashes
    from attrition.store.engine import connect, literal, rows_in

    if not delta.is_table(folder):
        return 0
    instead: dict[Path, Path | None] = {}
    stats: dict[Path, dict[str, Any]] = {}
    table = DeltaTable(str(folder))
    with connect() as db:
        for path in delta.files(folder, table):
            rows = f"FROM {rows_in([path])}"
            if not db.execute(f"SELECT count(*) {rows} WHERE {is_client}", {"client": whom.client}).fetchone()[0]:
                continue
            new = folder / f"{path.stem}-{table.version() + 1}.parquet"
            client = literal(whom.client)
            kept = f"SELECT * {rows} WHERE NOT coalesce({is_client.replace('$client', client)}, false)"
            db.execute(f"COPY ({kept}) TO {literal(new)} (FORMAT parquet, COMPRESSION zstd)")
            (left,) = db.execute(f"SELECT count(*) FROM {rows_in([new])}").fetchone()
            instead[path] = new if left else None
            if left:
                stats[new] = _stats(db, whom.portfolio, new)
    delta.rewrite(folder, instead, stats)
    named = set(delta.files(folder, DeltaTable(str(folder))))
    for path in safe.entries(folder, "*.parquet"):
        if path not in named:  # of a version before, or of a compaction cut short
            path.unlink()
    for spilt in safe.entries(folder, ".*.spilt"):
        safe.remove(spilt)
    hashes.drop_others(folder, named)
    safe.sync(folder)
    return len(instead)


def _stats(db: Any, portfolio: Portfolio, path: Path) -> dict[str, Any]:
    from attrition.store.buckets import stats
    from attrition.store.clients import score_stats
    from attrition.store.engine import rows_in

    described = db.execute(f"DESCRIBE SELECT * FROM {rows_in([path])}").fetchall()
    return stats(db, portfolio, path)[1] if "_version" in {name for name, *_ in described} else score_stats(path)


def lists(place: Place, whom: Whom) -> int:
    """The ranking without the client, its ranks dense again; whom to call first made from it anew."""
    from attrition import calling

    if not safe.exists(place.ranking):
        return 0
    changed = int(_without_lines(place.ranking, whom, ranked=True))
    calls = json.loads(place.call_list.read_text(encoding="utf-8")) if safe.exists(place.call_list) else {}
    if calls:
        about = {key: calls[key] for key in ("run", "model", "data_version")}
        anew = json.dumps(calling.lists(whom.portfolio, place.ranking, **about))
        if json.loads(anew) != calls:  # also where a call was cut short when the ranking was without the client already
            safe.write(place.call_list, anew)
            changed += 1
    return changed


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
        if safe.is_file(path) and (whose.holds(path=path, **asked) or _in_file(path, whom)):
            safe.unlink(path)
            changed += 1
    for path in (*sorted(safe.below(place.quarantine)), *sorted(safe.below(place.test))):
        if safe.is_file(path) and ((his := whose.lines(path=path, **asked)) or _in_file(path, whom)):
            changed += _cut(path, whom, his)
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
        if safe.is_file(path) and _in_file(path, whom):
            changed += _written_over(path, whom)
    return changed


def _file(path: Path, whom: Whom) -> bool:
    if path.suffix == ".parquet":
        return _assessment(path, whom)
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
    if path.suffix == ".parquet" and {"id", str(whom.portfolio.id)} & {*_fields(next(_spoken(path), ""), ",")}:
        return False  # without his rows already
    with path.open("rb") as file:
        head = file.read(BEGIN)
        if _is_text(head) and b"\0" in head:  # a pickle may have no sign between one text and the next
            if whom.plain or whom.client.encode() not in head + file.read():
                return False
            safe.unlink(path)
            return True
    return _in_file(path, whom) and bool(_cut(path, whom))


def _is(column: str) -> str:
    return f"CAST({column} AS VARCHAR) = $client"


def _assessment(path: Path, whom: Whom) -> bool:
    import duckdb

    try:
        return _without_lines(path, whom, ranked=path.stem in ("assessed", "ranking"))
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        if _whole(path):
            raise
        raise Damaged(path) from error


def _whole(path: Path) -> bool:
    """Whether a Parquet file can be read to its end.

    Raises:
        OSError: the disk does not give it at the moment, which says nothing of what is in it.
    """
    import duckdb

    from attrition.store.engine import connect, rows_in

    safe.sha256(path)
    try:
        with connect() as db:
            db.execute(f"SELECT bit_xor(hash(line)) FROM (SELECT * FROM {rows_in([path])}) AS line").fetchall()
    except duckdb.Error:
        return False
    return True


def _without_lines(path: Path, whom: Whom, *, ranked: bool) -> bool:
    """Rewrite a Parquet file of assessments without the client; whether it was there."""
    from attrition.store.engine import connect, literal, rows_in
    from attrition.store.ranking import ROWS

    rows = f"FROM {rows_in([path])}"
    beside = path.with_name(f".{path.name}.tmp")
    with connect() as db:
        columns = {name for name, *_ in db.execute(f"DESCRIBE SELECT * {rows}").fetchall()}
        name = next((each for each in ("id", str(whom.portfolio.id)) if each in columns), None)
        if name is None:
            return False
        there = f'CAST("{name}" AS VARCHAR) = {literal(whom.client)}'
        if not db.execute(f"SELECT count(*) {rows} WHERE {there}").fetchone()[0]:
            return False
        dense = ranked and path.stem == "ranking"
        kept = "* REPLACE (row_number() OVER (ORDER BY rank) AS rank)" if dense else "*"
        order = " ORDER BY rank" if ranked else ""
        query = f"SELECT {kept} {rows} WHERE NOT coalesce({there}, false){order}"
        db.execute(f"COPY ({query}) TO {literal(beside)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS})")
    safe.sync(beside)
    safe.move(beside, path)
    return True


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
        text = "".join(line for line in _lines(text) if not whom.token.search(line))
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


def _in_file(path: Path, whom: Whom) -> bool:
    """Whether a file of any format holds the id as a word."""
    spoken = _spoken(path)
    header = next(spoken, "")
    return any(any(_of_client(told, whom, header)) for _, told in _batches(chain([header], spoken)))


def _batches(pieces: Iterable[str]) -> Iterator[tuple[list[str], list[str]]]:
    """A file's lines, or pieces of them, so many at a time as memory is meant to hold; and what to look at of each."""
    batch: list[str] = []
    told: list[str] = []
    signs, before = 0, ""
    for piece in pieces:
        batch.append(piece)
        told.append(before + piece)
        signs += len(piece)
        before = "" if piece.endswith(ENDS) else piece[-OVERLAP:]
        if len(batch) == LINES or signs > SIGNS:
            yield batch, told
            batch, told, signs = [], [], 0
    yield batch, told


def _lines(text: str, newline: str = "") -> list[str]:
    """A text's lines with their ends; `str.splitlines` also ends one within a JSON document, where U+2028 stands."""
    return io.StringIO(text, newline=newline).readlines()


def _of_client(lines: Sequence[str], whom: Whom, header: str) -> list[bool]:
    """Which lines of a file are of the client, or speak of him.

    Of an id like any number these are the lines that have it where an id stands. In others it may stand in any column,
    but not as a part of somebody else's id: smith is not smith.john.
    """
    parted, names = _columns(header, whom)
    found = []
    for line, row in zip(lines, _rejected(lines, whom), strict=True):
        if row is not None:
            found.append(row)
        elif not whom.plain:
            found.append(bool(whom.token.search(line)) and not _of_another(line, whom, parted, names))
        elif line.startswith("{") or not names:  # JSON, or a log
            found.append(bool(whom.token.search(line)) and bool(whom.names.search(line)))
        else:
            at, fields = names.index(str(whom.portfolio.id)), _fields(line, parted)
            found.append(len(fields) > at and fields[at] == whom.client)
    return found


def _of_another(line: str, whom: Whom, parted: str, names: Sequence[str]) -> bool:
    """Whether a line is a row of somebody else, and has the client's id nowhere but within that one's."""
    row: dict[str, Any] = {}
    if line.startswith("{"):
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
    elif len(fields := _fields(line, parted)) == len(names):
        row = dict(zip(names, fields, strict=True))
    others = str(row.pop(str(whom.portfolio.id), ""))
    return _within(others, whom) and not whom.token.search(json.dumps(row, ensure_ascii=False))


def _within(field: str, whom: Whom) -> bool:
    """Whether a field is one word of which the client's id is a part."""
    return bool(whom.token.search(field)) and not whom.token.fullmatch(field) and len(field.split()) == 1


def _rejected(lines: Iterable[str], whom: Whom) -> list[bool | None]:
    """Which lines are rows in quarantine that may be the client's: which field is the id nobody knows there.

    Of a row of a wrong form there is the text alone, within which the id is a word. None: it is no such line.
    """
    from attrition.store import whose

    rows = [_set_aside(line) for line in lines]
    words = [[*row, *re.split(whose.BETWEEN, row[0])] if len(row) == 1 else row for row in rows]
    his = whose.among(whom.portfolio, whom.client, {word.strip() for row in words for word in row})
    return [
        any(word.strip() in his for word in among)
        or (len(row) == 1 and any(map(whom.token.search, row)))
        or (not whom.plain and any(whom.token.search(each) and not _within(each.strip(), whom) for each in row))
        if row
        else None
        for row, among in zip(rows, words, strict=True)
    ]


def _set_aside(line: str) -> list[str]:
    """The fields of a row in quarantine; none of any other line."""
    if not line.startswith('{"file": '):
        return []
    try:
        row = json.loads(line)
        fields = row.get("fields", row.get("raw"))
    except ValueError:
        return []
    return [str(field) for field in fields] if isinstance(fields, list) else []


def _columns(header: str, whom: Whom) -> tuple[str, list[str]]:
    """What parts the fields of a file, and their names; none if the id is not among them.

    Other signs that may part fields stand within them: 12,17 is one field where a semicolon parts them.
    """
    for way in (whom.portfolio.delimiter, *DELIMITERS):
        if whom.portfolio.id in (names := _fields(header, way)):
            return way, names
    return whom.portfolio.delimiter, []


def _fields(line: str, parted: str) -> list[str]:
    try:
        fields = next(csv.reader([line.strip("\r\n\ufeff")], delimiter=parted), [])
    except csv.Error:  # too long, or a zero byte
        fields = line.split(parted)
    return [field.strip(' "') for field in fields]


def _spoken(path: Path) -> Iterator[str]:
    """The lines of a file of any format; of one that is not what it says it is, its bytes."""
    with path.open("rb") as file:
        head = file.read(4)
    try:
        if head == b"PAR1":
            yield from _rows(path)
        else:
            packed, wide = head[:2] == b"\x1f\x8b", head.startswith(WIDE)
            encoding = "utf-16" if wide else "utf-8"
            read = gzip.open if packed else open
            with read(path, "rt", encoding=encoding, errors="replace", newline="") as text:
                yield from _pieces(text)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        yield from _bytes(path)


def _rows(path: Path) -> Iterator[str]:
    import duckdb

    from attrition.store.engine import connect, rows_in

    try:
        with connect() as db:
            found = db.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {rows_in([path])}")
            yield _line([name for name, *_ in found.description])
            while rows := found.fetchmany(LINES):
                yield from map(_line, rows)
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.Error, UnicodeDecodeError):
        yield from _bytes(path)


def _line(fields: Iterable[str | None]) -> str:
    """Fields as a line of a CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue()


def _bytes(path: Path) -> Iterator[str]:
    with path.open(encoding="latin-1", newline="") as text:
        yield from _pieces(text)


def _pieces(text: IO[str]) -> Iterator[str]:
    """The lines of a text; of one that is very long, as of a gzip that unpacks to gigabytes of zeros, its parts."""
    while piece := text.readline(SIGNS):
        yield piece


def _cut(path: Path, whom: Whom, his: Iterable[tuple[int, int]] = ()) -> int:
    """Cut the lines with the id out of a text, and those from one to before another of ``his``; no text goes whole."""
    with path.open("rb") as file:
        text = _is_text(file.read(4))
    if not text:
        safe.unlink(path)
        return 1
    from attrition.store.raw import form

    end, beside = (
        "\n" if form(path) == "json" else "",
        path.with_name(safe.derived(path.name, ".", f".{os.getpid()}.tmp")),
    )
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline=end) as lines, beside.open("wb") as kept:
            begun, gone = 0, False  # the line that is read: where it begins there, and whether it is his
            for piece, its in _marked(lines, whom, sorted(his)):
                gone = gone or its
                if gone:
                    kept.seek(begun)
                    kept.truncate()
                else:
                    kept.write(piece.encode("utf-8", errors="surrogateescape"))
                if piece.endswith(ENDS):
                    begun, gone = kept.tell(), False
        safe.sync(beside)
        safe.move(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return 1


def _marked(text: IO[str], whom: Whom, spans: list[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    """The pieces of a text, each with whether it is of the client, or on a line within one of ``spans``."""
    number, header = 1, None
    for pieces, told in _batches(_pieces(text)):
        header = header if header is not None or not told else told[0]
        for piece, its in zip(pieces, _of_client(told, whom, header or ""), strict=True):
            while spans and spans[0][1] <= number:
                del spans[0]
            yield piece, its or (bool(spans) and spans[0][0] <= number)
            number += piece.endswith(ENDS)


def _written_over(path: Path, whom: Whom) -> int:
    """Blank the lines with the id in a log where they stand; what is no text goes as a whole.

    Not a byte is moved and the file stays the one that it is: a tick, or the API, has it open and goes on writing.
    """
    if not _is_text(data := path.read_bytes()):
        return _cut(path, whom)
    lines = _lines(data.decode("utf-8", errors="surrogateescape"))
    with path.open("r+b") as file:
        for line, his in zip(lines, _of_client(lines, whom, lines[0]), strict=True):
            size = len(line.encode("utf-8", errors="surrogateescape"))
            if his:
                file.write(GONE.encode()[: size - 1].ljust(size - 1) + b"\n")
            else:
                file.seek(size, os.SEEK_CUR)
        file.flush()
        os.fsync(file.fileno())
    return 1


def _is_text(data: bytes) -> bool:
    return not data.startswith((b"PAR1", b"\x1f\x8b", *WIDE))


def _pattern(form: str) -> str:
    """A regular expression for a text; JSON may write \\u00e9 with small and with large digits."""
    return re.sub(r"\\\\u[0-9a-f]{4}", lambda found: f"(?i:{found[0]})", re.escape(form))


def _html(text: str) -> str:
    from html import escape

    return escape(text)
