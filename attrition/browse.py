"""The pages over HTTP: the same tree as on the disk, below ``/pages/``; lists are made on request, so that they can be
filtered, searched, and two of them compared. Nothing is computed that a stage did not record.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, Response, current_app, redirect, request, send_file
from werkzeug.wrappers import Response as Answer

from attrition import results, safe, web
from attrition.answers import CONTENT_POLICY, Answered
from attrition.body import Refused
from attrition.home import RUN
from attrition.serving import Server

if TYPE_CHECKING:
    from attrition.pages import Page

__all__ = ["routes"]

WRITTEN = re.compile(r"(?:index|runs-[0-9]{1,6})\.(?:html|json)")
BELOW = {
    "clients": re.compile(r"(?:index|band-[a-z]+|by-[0-9a-f]{12})\.(?:html|json)"),
    "models": re.compile(r"(?:index|[0-9]{4,}|[0-9]{4,}-compare)\.(?:html|json)"),
}
FORMS = CONTENT_POLICY.replace("sandbox", "form-action 'self'; sandbox allow-forms")
"""A page with a search may send it here, and still do nothing else."""

routes = Blueprint("pages", __name__, url_prefix="/pages")


@routes.get("/")
def home() -> Answer:
    """The portfolios and how they stand."""
    return redirect("index.html")


@routes.get("/<file>")
def top(file: str) -> Response:
    """The list of portfolios."""
    if file not in ("index.html", "index.json"):
        raise _nowhere()
    return _sent(_server().home.root / "executed" / file)


@routes.get("/<portfolio>/<file>")
def of_portfolio(portfolio: str, file: str) -> Response:
    """A portfolio's home; its runs, filtered; two runs or models side by side."""
    place = _server().place(portfolio)
    if file == "compare.html":
        from attrition import lists  # as the libraries of pages are not for a process that only predicts

        return _made(lists.compared(place))
    if not WRITTEN.fullmatch(file):
        raise _nowhere()
    if file.startswith("runs-") and file.endswith(".html"):
        from attrition import lists

        return _made(lists.runs(place, int(file.removeprefix("runs-").removesuffix(".html"))))
    return _sent(place.executed / file)


@routes.get("/<portfolio>/")
@routes.get("/<portfolio>/<folder>/")
def folder(portfolio: str, folder: str = "") -> Answer:
    """A folder's first page."""
    return redirect("index.html")


@routes.get("/<portfolio>/<folder>/<file>")
def below(portfolio: str, folder: str, file: str) -> Response:
    """Whom to call, searched; models; the files of a run."""
    place = _server().place(portfolio)
    if RUN.fullmatch(folder):
        path = results.file(place, folder, file)
        if path is None:
            raise _nowhere()
        return _sent(path)
    if folder not in BELOW or not BELOW[folder].fullmatch(file):
        raise _nowhere()
    if (folder, file) == ("clients", "index.html"):
        from attrition import lists

        return _made(lists.clients(place), forms=True)
    return _sent(place.executed / folder / file)


# ---- common to all


def _made(page: Page, *, forms: bool = False) -> Response:
    if request.args.get("as") == "json":
        return web.kept(web.of(Answered(200, "application/json", page.json().encode())))
    response = web.kept(web.of(Answered(200, "text/html; charset=utf-8", page.html().encode())))
    if forms:
        response.headers["Content-Security-Policy"] = FORMS
    return response


def _sent(path: Path) -> Response:
    if not safe.is_regular(path):
        raise _nowhere()
    return send_file(path, mimetype="application/json" if path.suffix == ".ipynb" else None, conditional=True)


def _server() -> Server:
    server: Server = current_app.extensions["server"]
    return server


def _nowhere() -> Refused:
    return Refused(404, "there is no such page; /pages/ lists those there are")
