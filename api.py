"""The API: the deployed model, and what the runs left behind. Routes only; it changes no file.

``python api.py`` serves it on this machine; another address to bind to needs a token (``attrition.guard``).
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, current_app, request, send_file

from attrition import browse, lane, listing, openapi, overview, params, registry, results, safe, secret, web
from attrition.answers import Answered, Counts
from attrition.body import Refused
from attrition.book import Book
from attrition.book_file import BRIEFLY
from attrition.front import LONGEST_BODY, Front
from attrition.guard import Guard, is_loopback
from attrition.home import Home, Place, UsageError
from attrition.params import ParamsError
from attrition.serving import WAITING, Server

__all__ = ["create_app", "create_front", "main"]

MOST_REASONS = 20
FEW = 20_000
"""Objects between two looks for garbage in cycles: rows make none, and Python's 700 cost a third of 1,000 rows."""
MOST_OPEN = 4096
"""Requests at one time: so many slow clients hold up nobody."""
COMMON = {"portfolio"}
"""What every path can be asked."""

routes = Blueprint("attrition", __name__)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The WSGI application. ``config["HOME"]`` is the home's folder; without it ``ATTRITION_HOME`` says.

    Raises:
        UsageError: the token cannot be read.
    """
    app = Flask("attrition", static_folder=None)
    app.url_map.merge_slashes = False
    app.config.from_mapping(MAX_CONTENT_LENGTH=LONGEST_BODY, **(config or {}))
    home = app.config.get("HOME")
    app.extensions["server"] = Server(Home(Path(home).resolve()) if home else Home.here())
    app.extensions["guard"] = Guard.of_environment()
    app.register_blueprint(routes)
    app.register_blueprint(browse.routes)
    web.install(app, app.extensions["guard"], Counts())
    return app


def create_front() -> Front:
    """What Granian serves: the application behind limits of size and time, models watched by a thread."""
    app = create_app()
    server: Server = app.extensions["server"]
    server.watch()
    gc.freeze()
    gc.set_threshold(FEW)
    guard, counts = app.extensions["guard"], app.extensions["counts"]
    return Front(app.wsgi_app, lane.Lane(server, guard, counts), counts)


@routes.before_request
def only_what_there_is_to_ask() -> None:
    """A misspelt question must not get the answer to another one."""
    if request.path != "/clients":  # where the portfolio decides
        _known()


# ---- the deployed model


@routes.post("/prediction")
def prediction() -> Response:
    """Probability, decision and band of each client sent: a record, a list of records, columns, or a CSV."""
    if len(files := [*request.files.values()]) > 1:
        raise Refused(400, f"{len(files)} files: send one in a request")
    uploaded = files[0] if files else None
    data = uploaded.read() if uploaded else request.get_data(cache=False)
    explain, served = _whole("explain", 0, MOST_REASONS), _server().portfolio(_asked())
    return web.of(lane.predicted(served, data, "text/csv" if uploaded else request.mimetype, explain, _counts()))


@routes.get("/scoring")
def scoring() -> Response:
    """How good the deployed model is: on the newest clients that it was judged on, and when it was trained."""
    served = _server().portfolio(_asked())
    place, version = _place(), served.manifest.version
    told = {"run": served.manifest.run, "f1": served.manifest.metrics.get("f1"), "metrics": served.manifest.metrics}
    judged = results.account(place, results.latest(place).get("judged", ""))
    if judged and judged.get("champion_before") == version and judged.get("performance"):
        told |= {"run": judged["run"], "f1": judged["performance"]["f1"], "metrics": judged["performance"]}
    trial = results.latest(place).get("score", "")
    account = results.account(place, trial)
    if account and (account.get("model") or {}).get("version") == version:
        told |= {"trial": {"run": trial, "scores": (results.values(place, trial, "40_score") or {}).get("scores")}}
    return web.recorded({"portfolio": place.name, "model": served.identity, **told})


@routes.get("/model")
def model() -> Response:
    """The deployed model: when, why and from what it was trained, and what is wrong with it, or a newer one."""
    server, asked = _server(), _asked()
    served = server.portfolio(asked)
    manifest = msgspec.to_builtins(served.manifest)
    del manifest["golden"], manifest["mac"]  # rows of clients; a signature
    deployed = {"run": served.current.run, "at": served.current.deployed_at, "proven": served.current.proven}
    about = {"portfolio": served.portfolio.name, "run": served.manifest.run, "model": served.identity}
    trouble = overview.standing(server, served.portfolio.name).trouble
    return web.recorded({**about, "deployed": deployed, "trouble": trouble, "manifest": manifest})


# ---- what the runs left behind


@routes.get("/summarystats")
def summarystats() -> Response:
    """Statistics of all client rows, column by column."""
    return _left("60_diagnose", "summary")


@routes.get("/diagnostics")
def diagnostics() -> Response:
    """Missing values, how long each stage takes, and which libraries are out of date."""
    return _left("60_diagnose", "missing", "timings", "dependencies")


@routes.get("/clients")
def clients() -> Response:
    """Clients ranked by risk, with their reasons and how their risk has changed in a week; as CSV too."""
    place, given = _place(), request.args
    show = params.load(place.params).show
    own = _known(*show)
    band, form = given.get("band"), given.get("format", "json")
    if band is not None and band not in params.BANDS:
        raise Refused(400, f"band: one of {', '.join(params.BANDS)}")
    if form not in ("json", "csv"):
        raise Refused(400, "format: json or csv")
    limit: int | None = _whole("limit", 50, 1000) if form == "json" else None
    if form == "csv" and "limit" in given:
        limit = _whole("limit", 0, listing.MOST_EXPORTED)
    shown = {name: given[name] for name in show if name in given and name not in own}
    asked = listing.Asked(band, shown, given.get("id"), bool(_whole("to_call", 0, 1)), limit, _whole("offset", 0))
    if form == "csv":
        if (content := listing.as_csv(place, asked)) is None:
            raise _nothing_yet(place, "70_assess")
        return web.kept(web.of(Answered(200, "text/csv; charset=utf-8", content)))
    if (ranked := listing.page(place, asked)) is None:
        raise _nothing_yet(place, "70_assess")
    return web.recorded({"portfolio": place.name, **ranked, "limit": asked.limit, "offset": asked.offset})


@routes.get("/runs")
def runs() -> Response:
    """Past runs, newest first, and since when it has been quiet. ``before`` takes ``next`` of the page before."""
    place, limit, before = _place(), _whole("limit", 50, 1000), _whole("before", 0)
    found, quiet = [], None
    if safe.exists(place.book):
        with Book.open(place.book, read_only=True, patience=BRIEFLY) as book:
            found, quiet = book.runs(limit=limit, before=before or None), book.quiet_since()
    following = found[-1]["number"] if found and len(found) == limit else None
    return web.recorded({"portfolio": place.name, "quiet": quiet, "runs": found, "next": following})


@routes.get("/runs/<run>")
def one_run(run: str) -> Response:
    """A run's own account, and the names of the files it left."""
    place = _place()
    account = results.account(place, run)
    if account is None:
        raise Refused(404, "there is no such run; /runs lists those there are")
    return web.recorded({**account, "files": results.files(place, run)})


@routes.get("/runs/<run>/<file>")
def run_file(run: str, file: str) -> Response:
    """A file of a run: its pages, its notebooks."""
    path = results.file(_place(), run, file)
    if path is None:
        raise Refused(404, "there is no such file; /runs/RUN lists those there are")
    return send_file(path, mimetype="application/json" if path.suffix == ".ipynb" else None, conditional=True)


# ---- the service itself


@routes.get("/livez")
def livez() -> Response:
    """Whether the process answers."""
    return web.answer(lane.ALIVE)


@routes.get("/readyz")
def readyz() -> Response:
    """Whether a model serves that may, and of which portfolio. ``fresh=1`` asks too whether ticks still come."""
    asked, server, fresh = _asked(), _server(), _whole("fresh", 0, 1)
    found = overview.standings(server) if asked is None else [overview.standing(server, asked)]
    if not any(each.model and not each.barred for each in found):
        raise Refused(503, next((each.trouble for each in found if each.trouble), WAITING))
    if fresh and any(each.stale for each in found):
        raise Refused(503, overview.staleness(found))
    named = ("model", "loaded", "trouble", "stale", "tick_age", "unknown")
    told = {each.name: {name: getattr(each, name) for name in named} for each in found}
    about = {"stale": any(each.stale for each in found), "trouble": any(each.trouble for each in found)}
    return web.answer({"status": "ready", **about, "portfolios": told})


@routes.get("/metrics")
def metrics() -> Response:
    """Counters and gauges for Prometheus."""
    told = [*_counts().lines(), *overview.lines(overview.standings(_server()))]
    return web.of(Answered(200, "text/plain; version=0.0.4; charset=utf-8", ("\n".join(told) + "\n").encode()))


@routes.get("/openapi.json")
def description() -> Response:
    """This API, described."""
    try:
        portfolio = params.load(_place().params)
    except (Refused, ParamsError, OSError):
        portfolio = None
    return web.recorded(openapi.describe(_views(), _server().names(), portfolio))


@routes.get("/")
def index() -> Response:
    """The portfolios, how fresh they are, and what there is to ask for."""
    page = overview.page(overview.standings(_server()), _views())
    return web.of(Answered(200, "text/html; charset=utf-8", page.encode()))


# ---- common to all


def _server() -> Server:
    server: Server = current_app.extensions["server"]
    return server


def _counts() -> Counts:
    counts: Counts = current_app.extensions["counts"]
    return counts


def _asked() -> str | None:
    return request.args.get("portfolio")


def _place() -> Place:
    return _server().place(_asked())


def _views() -> list[tuple[str, str, str]]:
    """Path, method and first line of the docstring of every route."""
    views = []
    for rule in current_app.url_map.iter_rules():
        if rule.endpoint.startswith("pages."):  # for people: they are reached by links
            continue
        said = (current_app.view_functions[rule.endpoint].__doc__ or "").splitlines()[0]
        views += [(rule.rule, method, said) for method in sorted((rule.methods or set()) & {"GET", "POST"})]
    return sorted(views)


def _known(*more: str) -> set[str]:
    """What the path can be asked, and no ``more``; anything else is refused."""
    own = COMMON | openapi.QUERY.get(request.path, {}).keys()
    if unknown := sorted(set(request.args) - own - set(more)):
        raise Refused(400, f"{unknown[0][:64]}: no such question; there are {', '.join(sorted({*own, *more}))}")
    return own


def _whole(name: str, default: int, most: int = 10**9) -> int:
    given = request.args.get(name, str(default))
    if not re.fullmatch("[0-9]{1,10}", given) or int(given) > most:
        raise Refused(400, f"{name}: a whole number from 0 to {most}")
    return int(given)


def _left(stage: str, *names: str) -> Response:
    """The named values that a stage recorded when it last ran."""
    place = _place()
    run = results.latest(place).get(stage.partition("_")[2], "")
    account, values = results.account(place, run), results.values(place, run, stage)
    if account is None or values is None:
        raise _nothing_yet(place, stage)
    about = {"portfolio": place.name, "run": run, "model": account.get("model")}
    return web.recorded({**about, **{name: values.get(name) for name in names}})


def _nothing_yet(place: Place, stage: str) -> Refused:
    return Refused(404, f"no completed run has been through {stage} yet: python runner.py tick {place.name}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted: on this machine, or where others can reach it, if there is a token."""
    parser = argparse.ArgumentParser(prog="api.py", description="Serve the deployed models and the runs' results.")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind to; any but this machine's needs a token")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args(arguments)
    if not 1 <= given.port <= 65535:
        parser.error("--port: 1 to 65535")
    try:
        token = Guard.of_environment().token
        overview.interval()
        secret.read(registry.KEY)
    except UsageError as error:
        parser.error(str(error))
    if not is_loopback(given.host) and token is None:
        parser.error("--host: other machines could ask: set ATTRITION_TOKEN, or ATTRITION_TOKEN_FILE (a 0600 file)")
    names = {os.environ.get("ATTRITION_HOSTS", ""), given.host if given.host not in ("0.0.0.0", "::") else ""}  # noqa: S104
    os.environ["ATTRITION_HOSTS"] = ",".join(sorted(names))
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    address = "127.0.0.1" if given.host == "localhost" else given.host
    target = f"{Path(__file__).resolve()}:create_front"
    options: dict[str, Any] = {"workers": 1, "http": HTTPModes.http1, "websockets": False, "factory": True}
    options |= {"backlog": MOST_OPEN, "backpressure": MOST_OPEN}
    # A worker that was killed, as for want of memory, has one in its stead; one that dies within 5 s of that ends all.
    options["respawn_failed_workers"] = True
    options["http1_settings"] = HTTP1Settings(header_read_timeout=10_000)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    Granian(target, address, given.port, interface=Interfaces.RSGI, **options).serve()


if __name__ == "__main__":
    main()
