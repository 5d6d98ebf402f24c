"""``runner.py rollback PORTFOLIO [VERSION] --reason TEXT``: serve an earlier model again.

A rollback is a run of its own, so that who did it, when and why stand where every other change of the
model stands. The version it leaves is barred: it is never served again.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from attrition import params, publish, registry, safe, site
from attrition.alone import alone
from attrition.book import Book, Outcome
from attrition.commits import commit_decision, commit_run, mend_current
from attrition.console import user
from attrition.home import Home, Place, UsageError
from attrition.params import Portfolio
from attrition.recovery import recover
from attrition.runs import Run

__all__ = ["configure", "main"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The words that follow the verb."""
    parser.add_argument("portfolio")
    parser.add_argument("version", nargs="?", help="the one that served before, if none is named")
    parser.add_argument("--reason", required=True, help="why, for those who read the record")


def main(arguments: argparse.Namespace, home: Home) -> int:
    """Roll back; returns the exit status."""
    place = home.place(arguments.portfolio)
    portfolio = params.load(place.params)
    if not arguments.reason.strip():
        raise UsageError("--reason is empty: say why, for those who read the record")
    if not safe.exists(place.book):
        raise UsageError(f"{place.name}: no model was ever deployed")
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with alone(place, at), Book.open(place.book) as book:
        recover(place, book, at)
        state = book.state()
        version = arguments.version or _before(place, book)
        _servable(place, book, version, portfolio)
        name, sequence = book.begin(at.replace("-", "").replace(":", ""), at, manual=True)
        facts = {"manual": True, "data_version": state.data_version, "champion_before": state.champion}
        run = Run.start(place, name, at, {}, **facts)
        reason = f"{user()} rolled back from {state.champion} to {version}: {arguments.reason.strip()}"
        ended = {state.champion or "": "barred"} | ({state.challenger: "given_up"} if state.challenger else {})
        proven = _deployed(book)[version]
        outcome = Outcome("rolled_back", reason, state.judged_version, version, None, {}, proven=proven, ended=ended)
        sequence = commit_decision(place, book, sequence, run, outcome, at)
        mend_current(place, book)
        model = {"version": version, "sha256": book.model(version)["sha256"]}
        run.end("completed", at, decision=outcome.decision, reason=reason, model=model)
        publish.run_page(place, run, portfolio, book)
        commit_run(place, book, run, sequence)
        site.write(place, portfolio, book)
    print(f"{place.name}: {name} rolled back: {reason}")
    return 0


def _before(place: Place, book: Book) -> str:
    barred = {model["version"] for model in book.models() if model["status"] == "barred"}
    champion = book.state().champion
    for version in _deployed(book):
        if version not in barred and version != champion:
            return version
    raise UsageError(f"{place.name}: no earlier model to go back to")


def _servable(place: Place, book: Book, version: str, portfolio: Portfolio) -> None:
    models = {model["version"]: model for model in book.models()}
    if version not in models:
        raise UsageError(f"{place.name}: no model {version[:20]!r}; there are {', '.join(models) or 'none'}")
    if version == book.state().champion:
        raise UsageError(f"{place.name}: model {version} serves already")
    if models[version]["status"] == "barred":
        raise UsageError(f"{place.name}: model {version} is barred: {models[version]['why']}")
    if version not in _deployed(book):
        raise UsageError(f"{place.name}: model {version} never served: only a proof may let it")
    try:
        _, manifest = registry.load(place.models / version, models[version]["sha256"], (place.name, version))
    except registry.ModelRefused as error:
        raise UsageError(f"{place.name}: {error}") from None
    if not manifest.fits(portfolio):  # the API would go on with the one that is to be left
        others = sorted(set(manifest.features) ^ set(portfolio.features))
        why = f"model {version} was trained on other features than {place.params.name} names ({', '.join(others)})"
        raise UsageError(f"{place.name}: {why}: take back the change there, or train anew with --force")
    if asks := manifest.otherwise(portfolio):  # the next tick with outcomes would put another one in its place
        why = f"in {place.params.name} {asks} when model {version} was trained"
        raise UsageError(f"{place.name}: {why}: take back the change there, or train anew with --force")


def _deployed(book: Book) -> dict[str, bool]:
    """Versions that served at some time, the latest first, with whether they were proven then."""
    found: dict[str, bool] = {}
    for deployed in book.deployments():
        found.setdefault(str(deployed["version"]), bool(deployed["proven"]))
    return found
