"""What 30_train makes of the clients that can be learnt from: in memory while they fit, else on files and by sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from attrition import candidates, engine, model
from attrition.candidates import Candidate
from attrition.scale import Table, WideTable, by_sums, fit
from attrition.stages import Stage
from attrition.store import evidence, training
from attrition.store.training import HELD_BACK, Training

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from attrition.registry import Manifest
    from attrition.store.clients import Clients

__all__ = ["FEW", "Rows", "enough", "rows", "tried"]

FEW = 100_000
"""Rows, of those that the champion has seen and of the others, that a choice between ways of training is made on."""


@dataclass(frozen=True)
class Rows:
    """Clients to learn from.

    ``known`` clients of whom ``left`` are trained on, the newest with row ``newest``. ``frame`` has them all, or at
    scale a random part, with ``fresh`` clients in them that the champion has not seen; then ``files`` has them all.
    ``held`` are held back from a first model, up to ``mark``.
    """

    known: int
    left: int
    newest: int
    frame: pd.DataFrame
    held: pd.DataFrame
    mark: str
    files: Training | None = None


def enough(stage: Stage, clients: Clients) -> str | None:
    """Why the clients are too few for a first model, in words; None when they are enough."""
    given = stage.portfolio
    if training.at_scale(clients):  # so many that only one outcome may be lacking
        labelled, left = clients.labelled, clients.outcomes
        return model.too_few_of(given, labelled, left)
    train, _, _ = model.split(given, evidence.trainable(clients, scores=stage.place.scores))
    why = model.too_few(given, train)
    if why and given.horizon:
        found = evidence.counted(clients, after_version=0, scores=stage.place.scores)
        if waiting := found.left_out.get(evidence.OPEN):
            why += (
                f"; {waiting:,} more are known but wait until {given.horizon} days after their as-of date have passed, "
                "by the latest as-of date that earlier ticks brought"
            )
    return why


def rows(stage: Stage, clients: Clients, before: Manifest | None) -> Rows:
    """The clients to learn from; ``before`` is the champion's manifest, None for a first model."""
    given, target = stage.portfolio, stage.portfolio.target.column
    if training.at_scale(clients):
        return _many(stage, training.prepare(clients, stage.staging / "training"), before)
    known = evidence.trainable(clients, scores=stage.place.scores)
    train, held, mark = (known, known.head(0), "") if before else model.split(given, known)
    newest = int(train["_row"].max()) if len(train) else 0
    return Rows(len(train), int(train[target].sum()), newest, train, held, mark)


def _many(stage: Stage, files: Training, before: Manifest | None) -> Rows:
    target = stage.portfolio.target.column
    if before is None:
        mark = files.mark(model.held_back(stage.portfolio, files.rows))
        held = files.frame(f"{HELD_BACK} <= '{mark}'", files.rows)
        train = files.frame(f"{HELD_BACK} > '{mark}'", 2 * FEW)
        return Rows(
            files.rows - len(held), files.left - int(held[target].sum()), files.newest, train, held, mark, files
        )
    since = before.data_version
    parts = [files.frame(f"_counted <= {since}", FEW), files.frame(f"_counted > {since}", FEW)]
    train = pd.concat(parts, ignore_index=True)
    return Rows(files.rows, files.left, files.newest, train, train.head(0), "", files)


def tried(
    stage: Stage, rows: Rows, champion: Pipeline | None, before: Manifest | None, since_version: int
) -> list[Candidate]:
    """As `candidates.tried`. At scale the choice is made on part of the rows, and a new model then fitted on all.

    Of an old model that is mended a part of the new clients is enough. On a part in which new clients have more
    weight than among all, a new model on all would seem to learn more of them than it does: it is left out there,
    where it would be the old model again.

    Raises:
        TooFew: no candidate can be trained.
        EngineError: the cluster cannot be used.
    """
    since = before.data_version if before else 0
    found = candidates.tried(stage.portfolio, rows.frame, champion, since, since_version)
    if rows.files is None:
        return found
    try:
        whole = rows.files.count(f"_counted > {since}") / rows.files.rows
        if (rows.frame["_counted"] > since).mean() > 2 * whole:
            found = [one for one in found if one.name != "all"] or found
        return [_on_all(stage, rows, found[0], since, max(0, since_version - 1)), *found[1:]]
    finally:
        rows.files.remove()


def _on_all(stage: Stage, rows: Rows, chosen: Candidate, since: int, change: int) -> Candidate:
    """The chosen candidate fitted on all its rows, if sums can do that and it does not mend the old model."""
    files = rows.files
    assert files is not None
    if chosen.mends or not by_sums(stage.portfolio):
        return chosen
    start = max(since, change)
    new, after = (files.count(f"_counted > {version}") for version in (start, change))
    train = f"{HELD_BACK} > '{rows.mark}'" if rows.mark else "true"
    own = {"where": f"_counted > {change}" if chosen.name == "recent" else train}
    if chosen.name == "weighted":
        own["weight"] = f"pow(0.5, ({files.rows} - _place) / {candidates.half_life(new)})"
    try:
        pipeline = fit(Table(stage.portfolio, files.files, engine.of(stage.portfolio), **own))
    except WideTable:
        return chosen  # fitted on a part, as its words say
    words = candidates.words(chosen.name, rows=rows.known, new=new, since=after)
    count = after if chosen.name == "recent" else rows.known
    return replace(chosen, words=words, rows=count, pipeline=pipeline)
