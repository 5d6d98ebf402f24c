"""Risks and reasons of clients, a batch a task: from one Parquet file to another, here or on a cluster."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from attrition import assessment, engine, model
from attrition.params import Portfolio
from attrition.store.batches import batches, read_batch, write_batch
from attrition.store.clients import Clients

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from attrition.registry import Manifest

__all__ = ["BINS", "Batch", "Scored", "assess", "score"]

Ints = npt.NDArray[np.int64]

BINS = 40
"""Of a histogram of risks from 0 to 1."""


@dataclass(frozen=True)
class Batch:
    """Current clients in the file ``source``, and all that it takes to write their risks and reasons to ``target``."""

    portfolio: Portfolio
    pipeline: Pipeline
    base: Mapping[str, float]
    usual: Mapping[str, float | str]
    versions: Mapping[str, str | int]
    source: Path
    target: Path


@dataclass(frozen=True)
class Scored:
    """Files with a row a client, as `attrition.store.ranking.COLUMNS`; how many there are, and in each bin of risk."""

    files: tuple[Path, ...]
    rows: int
    histogram: Ints


def assess(
    clients: Clients, pipeline: Pipeline, manifest: Manifest, folder: Path, *, after_version: int, run: str
) -> Scored:
    """Score the current clients whose newest row came after a version, in ``folder``, which must be new.

    Raises:
        AssertionError: reasons do not sum to the model's logit.
        EngineError: the cluster cannot be used.
    """
    given = clients.portfolio
    versions: dict[str, str | int] = {"data_version": clients.version, "model_version": manifest.version, "run": run}

    def tasks() -> Iterator[Batch]:
        for source in batches(clients, folder / "clients", after_version=after_version):
            target = folder / f"{source.stem}.parquet"
            yield Batch(given, pipeline, manifest.base, manifest.usual, versions, source, target)

    files, rows, histogram = [], 0, np.zeros(BINS, dtype=np.int64)
    for path, count, bins in engine.of(given).map(score, tasks()):
        files.append(path)
        rows, histogram = rows + count, histogram + bins
    return Scored(tuple(files), rows, histogram)


def score(batch: Batch) -> tuple[Path, int, Ints]:
    """Write the risks and reasons of one batch to its target; how many there are, and their histogram.

    A task of the engine. One that runs twice writes the same file twice.
    """
    clients = read_batch(batch.portfolio, batch.source)
    risks = model.probabilities(batch.pipeline, clients)
    parts = model.contributions(batch.pipeline, batch.portfolio, clients, batch.base, batch.usual)
    assessment.check_sum(parts, batch.base, model.explained(batch.pipeline, risks))
    reasons = model.reasons(batch.portfolio, clients, parts, batch.usual)
    found = assessment.frame(batch.portfolio, clients, risks, reasons, **batch.versions)  # type: ignore[arg-type]
    written = batch.target.with_name(f".{batch.target.name}.{os.getpid()}-{uuid.uuid4().hex}")
    write_batch(found, written)
    written.replace(batch.target)
    bins: Ints = np.histogram(risks, np.linspace(0, 1, BINS + 1))[0]
    return batch.target, len(clients), bins
