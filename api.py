"""The API: the deployed model, and what the runs left behind. Routes only; it changes no file.

``python api.py`` serves it on this machine; other machines are refused until there are tokens.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response, current_app, request, send_file

from attrition import openapi, params, results, web
from attrition.body import MOST_BYTES
from attrition.book import Book
from attrition.home import Home, Place
from attrition.params import ParamsError
from attrition.serving import WAITING, Refused, Server

__all__ = ["create_app", "main"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")

routes = Blueprint("attrition", __name__)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The WSGI application. ``config["HOME"]`` is the home's folder; without it ``ATTRITION_HOME`` says."""
    app = Flask("attrition", static_folder=None)
    app.url_map.merge_slashes = False
    app.config.from_mapping(MAX_CONTENT_LENGTH=MOST_BYTES, **(config or {}))
    home = app.config.get("HOME")
    app.extensions["server"] = Server(Home(Path(home).resolve()) if home else Home.here())
    app.register_blueprint(routes)
    web.install(app)
    return app


# ---- the deployed model


@routes.post("/prediction")
def prediction() -> Response:
    """Probability, decision and band of each client sent: a JSON record, a list of records, a CSV or a CSV file."""
    served = _server().portfolio(_asked())
    uploaded = next(iter(request.files.values()), None)
    data = uploaded.read() if uploaded else request.get_data(cache=False)
    rows = served.rows(data, "text/csv" if uploaded else request.mimetype)
    return web.answer(served.answer(rows))


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
    """The deployed model: when, why and from what it was trained, and whether a newer one was refused."""
    server, asked = _server(), _asked()
    served, trouble = server.portfolio(asked), server.look(asked)[1]
    manifest = msgspec.to_builtins(served.manifest)
    del manifest["golden"]  # rows of clients
    deployed = {"run": served.current.run, "at": served.current.deployed_at, "proven": served.current.proven}
    about = {"portfolio": served.portfolio.name, "run": served.manifest.run, "model": served.identity}
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
    """Clients ranked by risk, with their reasons."""
    place, band = _place(), request.args.get("band")
    limit, offset = _whole("limit", 50, 1000), _whole("offset", 0)
    if band is not None and band not in params.BANDS:
        raise Refused(400, f"band: one of {', '.join(params.BANDS)}")
    ranked = results.clients(place, limit, offset, band)
    if ranked is None:
        raise _nothing_yet(place, "70_assess")
    return web.recorded({"portfolio": place.name, **ranked, "limit": limit, "offset": offset})


@routes.get("/runs")
def runs() -> Response:
    """Past runs, newest first, and since when it has been quiet. ``before`` takes ``next`` of the page before."""
    place, limit, before = _place(), _whole("limit", 50, 1000), _whole("before", 0)
    found, quiet = [], None
    if place.book.exists():
        with Book.open(place.book, read_only=True) as book:
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
    return web.answer({"status": "alive"})


@routes.get("/readyz")
def readyz() -> Response:
    """Whether models serve: of one portfolio, or of all that have one."""
    asked, server = _asked(), _server()
    names = server.home.portfolios() if asked is None else [server.place(asked).name]
    looks = {name: server.look(name) for name in names}
    broken = [trouble for served, trouble in looks.values() if served is None and trouble]
    if broken or not any(served for served, _ in looks.values()):
        raise Refused(503, broken[0] if broken else WAITING)
    told = {
        name: {"model": served.identity if served else None, "trouble": why} for name, (served, why) in looks.items()
    }
    return web.answer({"status": "ready", "portfolios": told})


@routes.get("/metrics")
def metrics() -> Response:
    """Counters and gauges for Prometheus."""
    server, lines = _server(), ["# TYPE attrition_requests_total counter", *web.counts()]
    places = [server.home.place(name) for name in server.home.portfolios()]
    looks = {place.name: server.look(place.name) for place in places}
    lines.append("# TYPE attrition_model_info gauge")
    for name, (served, _) in looks.items():
        if served:
            labels = f'portfolio="{name}",version="{served.manifest.version}",sha256="{served.manifest.sha256}"'
            lines.append(f"attrition_model_info{{{labels}}} 1")
    lines.append("# TYPE attrition_model_trouble gauge")
    lines += [f'attrition_model_trouble{{portfolio="{name}"}} {int(bool(why))}' for name, (_, why) in looks.items()]
    lines.append("# TYPE attrition_last_tick_age_seconds gauge")
    ages = {place.name: _tick_age(place) for place in places}
    lines += [
        f'attrition_last_tick_age_seconds{{portfolio="{name}"}} {age:.3f}'
        for name, age in ages.items()
        if age is not None
    ]
    return Response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4; charset=utf-8")


@routes.get("/openapi.json")
def description() -> Response:
    """This API, described."""
    try:
        portfolio = params.load(_place().params)
    except (Refused, ParamsError):
        portfolio = None
    return web.recorded(openapi.describe(_views(), portfolio))


@routes.get("/")
def index() -> Response:
    """What there is to ask for."""
    lines = "".join(f"<li><code>{method} {escape(rule)}</code> {escape(said)}</li>" for rule, method, said in _views())
    names = ", ".join(_server().home.portfolios())
    page = f"<h1>Attrition</h1><p>Portfolios: {names}; choose with <code>?portfolio=</code></p><ul>{lines}</ul>"
    return Response(f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Attrition</title>{page}</html>')


# ---- common to all


def _server() -> Server:
    server: Server = current_app.extensions["server"]
    return server


def _asked() -> str | None:
    return request.args.get("portfolio")


def _place() -> Place:
    return _server().place(_asked())


def _views() -> list[tuple[str, str, str]]:
    """Path, method and first line of the docstring of every route."""
    views = []
    for rule in current_app.url_map.iter_rules():
        said = (current_app.view_functions[rule.endpoint].__doc__ or "").splitlines()[0]
        views += [(rule.rule, method, said) for method in sorted((rule.methods or set()) & {"GET", "POST"})]
    return sorted(views)


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


def _tick_age(place: Place) -> float | None:
    """Seconds since the last tick, with or without work; None before the first."""
    if not place.book.exists():
        return None
    with Book.open(place.book, read_only=True) as book:
        quiet, newest = book.quiet_since(), book.runs(limit=1)
    line = quiet or (newest[0] if newest else {})
    last = line.get("last") or line.get("finished_at") or line.get("started_at")
    return time.time() - datetime.fromisoformat(last).timestamp() if last else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve on this machine until interrupted."""
    parser = argparse.ArgumentParser(prog="api.py", description="Serve the deployed models and the runs' results.")
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1, localhost or ::1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args(arguments)
    if given.host not in LOOPBACK:
        parser.error(
            "--host: this machine only (127.0.0.1, localhost, ::1): the API knows no tokens, so anyone could ask"
        )
    if not 1 <= given.port <= 65535:
        parser.error("--port: 1 to 65535")
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    address = "127.0.0.1" if given.host == "localhost" else given.host
    target = f"{Path(__file__).resolve()}:create_app"
    options: dict[str, Any] = {"workers": 1, "blocking_threads": 4, "http": HTTPModes.http1, "websockets": False}
    Granian(target, address, given.port, interface=Interfaces.WSGI, factory=True, **options).serve()


if __name__ == "__main__":
    main()
