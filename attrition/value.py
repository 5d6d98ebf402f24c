"""What a call is worth: from which risk on it pays, and what calling the clients at highest risk brings. Pure.

A call costs ``call``. A client that is kept is worth ``client``, and of those who would have left and are called the
share ``kept`` stays; on who would have stayed anyway a call is lost. So a call to a client of risk p is expected to
bring p·kept·client − call. ``kept`` is the company's own estimate: nothing here can tell whether it is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from attrition.metrics import checked, wilson
from attrition.params import Costs

__all__ = ["expected_gain", "plan", "realised"]

Floats = npt.NDArray[np.float64]

POINTS = 200
"""Of a curve, at most."""


def expected_gain(p: npt.ArrayLike, call: float, client: float, kept: float) -> Floats:
    """What a call to each client of risk ``p``, shape ``(clients,)``, is expected to bring, in the costs' currency."""
    return np.asarray(p, dtype=np.float64) * (kept * client) - call


def plan(p: npt.ArrayLike, costs: Costs) -> dict[str, Any]:
    """Whom to call of clients with risks ``p``, shape ``(clients,)``: all whose call is expected to pay.

    ``called`` are these, ``gain`` is what calling them is expected to bring, ``everybody`` what calling all is;
    ``threshold`` is that of the costs. ``points`` are ``POINTS`` or fewer of ``{"called", "gain"}``: the expected
    gain of calling so many with the highest risk, from none to all.

    Raises:
        ValueError: a risk that is no probability, or missing.
    """
    risks = np.asarray(p, dtype=np.float64)
    if not ((risks >= 0) & (risks <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1, and none may be missing")
    gains = expected_gain(np.sort(risks)[::-1], costs.call, costs.client, costs.kept)
    total = np.concatenate([[0.0], np.cumsum(gains)])
    best = int(np.sum(gains > 0))
    shown = np.union1d(np.linspace(0, risks.size, POINTS - 1).round().astype(np.int64), [best])
    return {
        "clients": risks.size,
        "threshold": costs.threshold,
        "called": best,
        "gain": float(total[best]),
        "everybody": float(total[-1]),
        "points": [{"called": int(k), "gain": float(total[k])} for k in shown],
    }


def realised(y: npt.ArrayLike, p: npt.ArrayLike, costs: Costs) -> dict[str, Any]:
    """What following ``plan`` would have brought on clients who were not called and whose outcome ``y`` is known.

    ``called`` and, of them, ``left``; ``gain`` is ``{"value", "low", "high"}``, with Wilson's 95% interval of the
    share that leaves among such clients, and ``expected`` is what the risks promised. Beyond ``kept`` nothing is
    assumed.

    Raises:
        ValueError: no rows, different lengths, an outcome other than 0 and 1, or no probability.
    """
    y, p = checked(y, p)
    promised = expected_gain(p, costs.call, costs.client, costs.kept)
    chosen = promised > 0
    called, left = int(chosen.sum()), int(y[chosen].sum())
    shares = (left / called, *wilson(left, called)) if called else (0.0, 0.0, 0.0)
    value, low, high = (float(called * expected_gain(share, costs.call, costs.client, costs.kept)) for share in shares)
    return {
        "called": called,
        "left": left,
        "gain": {"value": value, "low": low, "high": high},
        "expected": float(promised[chosen].sum()),
    }
