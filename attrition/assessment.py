"""What 70_assess makes of risks and reasons: the list of clients, its bands, and whom to call first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from attrition import value
from attrition.model import BASE
from attrition.params import BANDS, Costs, Portfolio
from attrition.store.engine import rows_in
from attrition.store.evidence import held_out

__all__ = ["CALLABLE", "bands", "call_list", "check_sum", "frame", "in_short", "listed", "top"]

Floats = npt.NDArray[np.float64]

CALLABLE = "NOT hold_out AND NOT gone"
"""Of a ranking, who may be called."""


def check_sum(parts: Floats, base: Mapping[str, float], risks: Floats) -> None:
    """Hold the reasons to the model: base and parts must sum to each client's logit.

    Args:
        parts: what each feature adds, shape ``(clients, features)``, in logits.
        base: of :func:`attrition.model.baseline`.
        risks: probabilities, shape ``(clients,)``.

    Raises:
        AssertionError: one differs by more than 1e-9.
    """
    if not len(risks):
        return
    # Compared as probabilities too: at a risk of 1 - 1e-12 a logit cannot be had back from it to 1e-9.
    logits = base[BASE] + parts.sum(axis=1)
    inside = (risks > 1e-6) & (risks < 1 - 1e-6)
    off = np.abs(logits[inside] - np.log(risks[inside] / (1 - risks[inside])))
    worst = max(off.max(initial=0.0), np.abs(1 / (1 + np.exp(-logits)) - risks).max())
    if worst > 1e-9:
        raise AssertionError(f"reasons and base miss the model's logit by {worst:.1e}; they are not its reasons")


def frame(
    portfolio: Portfolio,
    clients: pd.DataFrame,
    risks: Floats,
    reasons: Sequence[Sequence[str]],
    *,
    data_version: int,
    model_version: str,
    run: str,
) -> pd.DataFrame:
    """A row a client, as :func:`attrition.store.ranking.write_ranking` takes it."""
    ids = clients[portfolio.id] if portfolio.id else clients["_row"]
    edges = [0.0, portfolio.bands.medium, portfolio.bands.high, np.inf]
    return pd.DataFrame(
        {
            "_row": clients["_row"],
            "id": ids.astype(str),
            "as_of": clients[portfolio.as_of] if portfolio.as_of else pd.NaT,
            "data_version": data_version,
            "model_version": model_version,
            "run": run,
            "probability": risks,
            "band": pd.cut(risks, edges, right=False, labels=[*reversed(BANDS)]).astype(str),
            "hold_out": held_out(portfolio, ids),
            "gone": (clients[portfolio.target.column] == 1).to_numpy(),
            "reasons": list(reasons),
            **{name: clients[name] for name in portfolio.show},
        }
    )


def top(portfolio: Portfolio, ranking: Path) -> list[dict[str, Any]]:
    """Whom to call first: the current clients of highest risk, but for those who have left or are held out."""
    hidden = (
        *("_row", "data_version", "model_version", "run", "hold_out", "gone", "change", "change_since", "trail"),
        *(() if portfolio.as_of else ("as_of",)),
    )
    rows = duckdb.execute(
        f"SELECT * FROM {rows_in([ranking])} WHERE {CALLABLE} ORDER BY rank LIMIT $top",  # noqa: S608 - quoted
        {"top": portfolio.top},
    ).df()
    rows["reasons"] = ["; ".join(each) for each in rows["reasons"]]
    if portfolio.as_of:
        rows["as_of"] = rows["as_of"].dt.strftime("%Y-%m-%d")
    return [
        {str(name): value for name, value in row.items()} for row in rows.drop(columns=[*hidden]).to_dict("records")
    ]


def listed(ranking: Path) -> Floats:
    """The risks of all clients who could be called, highest first, shape ``(clients,)``."""
    query = f"SELECT probability FROM {rows_in([ranking])} WHERE {CALLABLE} ORDER BY rank"  # noqa: S608
    return duckdb.execute(query).df()["probability"].to_numpy(dtype=np.float64)


def call_list(portfolio: Portfolio, listed: Sequence[Mapping[str, Any]]) -> pd.DataFrame | str:
    """The top list as a person reads it; without a model a sentence."""
    if not listed:
        return "There is no list yet: no model has scored the clients."
    rows = {
        client["rank"]: {
            "client": client["id"],
            **{portfolio.label(name): client[name] for name in portfolio.show if name in client},
            "risk": f"{client['probability']:.0%}",
            **_worth(portfolio, client["probability"]),
            "why": client["reasons"],
        }
        for client in listed
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _worth(portfolio: Portfolio, probability: float) -> dict[str, str]:
    """What a call of the client is expected to bring, where the portfolio says what a call costs."""
    if portfolio.costs is None:
        return {}
    costs = portfolio.costs
    gain = float(value.expected_gain([probability], costs.call, costs.client, costs.kept)[0])
    return {"a call is worth": f"{gain:+,.2f} {costs.currency}".strip()}


def bands(portfolio: Portfolio, staging: Path) -> list[dict[str, Any]]:
    """How many clients are in each band, of this run and of all current ones."""
    counted = [
        dict(
            duckdb.execute(
                f"SELECT band, count(*) FROM {rows_in([staging / name])} GROUP BY band"  # noqa: S608
            ).fetchall()
        )
        for name in ("assessed.parquet", "ranking.parquet")
    ]
    starts = {"high": portfolio.bands.high, "medium": portfolio.bands.medium, "low": 0.0}
    return [
        {"band": band, "from": starts[band], "this_run": counted[0].get(band, 0), "all": counted[1].get(band, 0)}
        for band in BANDS
    ]


def in_short(counted: Sequence[Mapping[str, Any]], plan: Mapping[str, Any] | None, costs: Costs | None) -> str:
    """Who is at risk, and what calling them is expected to bring, in a sentence."""
    said = "; ".join(f"{each['all']:,} at {each['band']} risk" for each in counted)
    if plan is None or costs is None:
        return f"{said}."
    worth = f"{plan['gain']:,.0f} {costs.currency}".strip()
    return f"It pays to call {plan['called']:,} of {plan['clients']:,} clients, worth {worth}; {said}."
