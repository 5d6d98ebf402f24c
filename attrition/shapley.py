"""What each feature adds to a risk beyond the usual client's, for a model that is no sum over features. Pure.

A feature's share is its Shapley value against one reference, the usual client (Sundararajan and Najmi, "The many
Shapley values for model explanation", ICML 2020): the mean, over orders of the features, of what the logit moves by
when the reference's value is replaced by the client's. It is sampled over a few orders, each with its reverse (Castro
et al., 2009; Mitchell et al., 2022): exact where at most two features interact, and always summing to the logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["CERTAIN", "logits", "shares"]

Floats = npt.NDArray[np.float64]
CERTAIN = 1e-3
"""A risk nearer to 0 or 1 counts as this near: a forest of which no tree votes for leaving is not infinitely sure."""
PAIRS = 6
"""Orders that are tried, each with its reverse."""
ROWS = 20_000
"""Rows that the model is asked for at a time."""


def logits(risks: Floats) -> Floats:
    """The log-odds of risks, none nearer to certainty than ``CERTAIN``."""
    inside = np.clip(risks, CERTAIN, 1 - CERTAIN)
    found: Floats = np.log(inside / (1 - inside))
    return found


def shares(
    risk: Callable[[Floats], Floats],
    rows: Floats,
    reference: Floats,
    owners: Sequence[int],
    features: int,
    seed: int = 0,
) -> Floats:
    """What each of ``features`` adds to the logit of each row beyond the reference's, shape ``(rows, features)``.

    Args:
        risk: probabilities of encoded rows, shape ``(any, terms)`` to ``(any,)``.
        rows: the clients, encoded, shape ``(rows, terms)``.
        reference: the usual client, encoded, shape ``(terms,)``.
        owners: the feature that each term belongs to.
        features: how many there are; of one without a term the share is 0.
        seed: of the orders; the same seed gives the same shares to the last bit.
    """
    count = len(rows)
    found = np.zeros((count, features))
    taken = max(1, ROWS // (2 * PAIRS * (features + 1)))
    orders = _orders(features, seed)
    for start in range(0, count, taken):
        part = rows[start : start + taken]
        walked = logits(risk(_walks(part, reference, np.asarray(owners), orders)))
        steps = np.diff(walked.reshape(len(orders), features + 1, len(part)), axis=1)
        for order, moved in zip(orders, steps, strict=True):
            found[start : start + taken, order] += moved.T / len(orders)
    return found


def _orders(features: int, seed: int) -> list[npt.NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    forward = [rng.permutation(features) for _ in range(PAIRS)]
    return [order for each in forward for order in (each, each[::-1])]


def _walks(rows: Floats, reference: Floats, owners: npt.NDArray[np.intp], orders: list[npt.NDArray[np.intp]]) -> Floats:
    """From reference to row, a feature at a time in each order, shape ``(orders·(features+1)·rows, terms)``."""
    walks = []
    for order in orders:
        place = np.empty(len(order), dtype=np.intp)
        place[order] = np.arange(len(order))
        given = place[owners][None, :] < np.arange(len(order) + 1)[:, None]  # (steps, terms): the client's own by then
        walks.append(np.where(given[:, None, :], rows[None, :, :], reference[None, None, :]))
    return np.concatenate(walks).reshape(-1, rows.shape[1])
