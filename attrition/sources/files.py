"""Files behind a URL that fsspec knows: each is fetched once, and again when it has changed."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from attrition import secret
from attrition.params import Source
from attrition.sources.landing import Landing, SourceError
from attrition.store.drops import is_drop

__all__ = ["fetch"]

PIECE = 2**20
STAMPS = (
    *("ETag", "etag", "e_tag", "md5Hash", "content_md5", "checksum", "generation"),
    *("mtime", "LastModified", "last_modified", "updated", "modified", "created"),
)
"""What a file system may tell of a file that changes with its content, best first."""
PATTERN = re.compile(r"[*?\[]")
FOLDERS = {
    *("file", "local", "ftp", "sftp", "ssh", "smb", "hdfs", "arrow_hdfs", "webhdfs", "dbfs", "root"),
    *("http", "https", "sync-http", "sync-https", "jupyter", "jlab"),
}
"""Kinds in which a folder, or a page of links, is there also when it is empty. Object stores know names alone."""


def fetch(source: Source, landing: Landing) -> None:
    """Land each file that is new or has changed, one at a time.

    Raises:
        SourceError: the library for this kind of URL is missing, or the files cannot be listed or read.
    """
    system, path = _system(source)
    try:
        for name, info in sorted(_listed(system, path)):
            _take(system, name, info, landing)
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError("there is no such file or folder") from None
    except PermissionError:
        raise SourceError("it may not be read: the rights, or the options, forbid it") from None
    except Exception as error:
        raise SourceError(f"its files cannot be read ({type(error).__name__})") from None


def _system(source: Source) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise SourceError("a source with url needs fsspec: pip install 'attrition[files]'") from None
    given = secret.read(source.options) if source.options else "{}"
    if given is None:
        raise SourceError(f"the environment has no {source.options}: set it to the options of the file system, as JSON")
    try:
        options = json.loads(given)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise SourceError(f'{source.options} is no JSON object: write options as {{"key": …}}')
    try:
        system, path = fsspec.core.url_to_fs(source.url, **options)
    except ImportError as error:  # says which library to install
        raise SourceError(f"this kind of URL needs a library of its own: {error}") from None
    except ValueError:
        raise SourceError("fsspec does not know this kind of URL") from None
    return system, str(path)


def _listed(system: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    system.invalidate_cache()
    if signs := PATTERN.search(path):
        if FOLDERS & _kinds(system):  # to a pattern a folder that is gone, or closed, is an empty one
            system.ls(path[: path.rfind("/", 0, signs.start()) + 1], detail=False)
        found = list(system.glob(path, detail=True).values())
    else:
        one = system.info(path)
        found = system.ls(path, detail=True) if one["type"] == "directory" else [one]
    for info in found:
        if info["type"] == "file" and is_drop(PurePosixPath(info["name"]).name):
            yield info["name"], info


def _kinds(system: Any) -> set[str]:
    """What a file system is called; of one that only keeps copies of another, what that one is."""
    from fsspec import AbstractFileSystem

    while isinstance(inner := getattr(system, "fs", None), AbstractFileSystem):
        system = inner
    return {system.protocol} if isinstance(system.protocol, str) else {*system.protocol}


def _take(system: Any, path: str, info: Mapping[str, Any], landing: Landing) -> None:
    stamp, before = _stamp(info), landing.mark(path)
    if _young(info, landing.settle) or (stamp and before and before["stamp"] == stamp):
        return
    name = landing.name(path, stamp, PurePosixPath(path).name)
    if landing.there(name):
        return
    then = _now(system, path)  # a list of files may tell other things of one than a look at it
    sha256 = _copy(system, path, landing.beside(name))
    if _now(system, path) != then:  # changed meanwhile: the next tick takes it
        landing.beside(name).unlink()
    elif before and before["sha256"] == sha256:
        landing.beside(name).unlink()
        landing.known(path, {"stamp": stamp, "sha256": sha256})
    else:
        landing.land(name, path, {"stamp": stamp, "sha256": sha256})


def _now(system: Any, path: str) -> str:
    system.invalidate_cache()
    return _stamp(system.info(path))


def _stamp(info: Mapping[str, Any]) -> str:
    """What tells this content of a file from another; empty where the file system says nothing but the size."""
    for key in STAMPS:
        if info.get(key) is not None:
            return f"{info.get('size')} {key}={info[key]}"
    return ""


def _young(info: Mapping[str, Any], settle: float) -> bool:
    """Whether a file on a disk may still be written to; object stores show whole files only."""
    touched = info.get("mtime")
    return isinstance(touched, float) and 0 <= time.time() - touched < settle


def _copy(system: Any, path: str, target: Path) -> str:
    digest = hashlib.sha256()
    with system.open(path, "rb") as file, target.open("wb") as copy:
        while piece := file.read(PIECE):
            digest.update(piece)
            copy.write(piece)
    return digest.hexdigest()
