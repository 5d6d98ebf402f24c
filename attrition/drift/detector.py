"""When a refit is due: an e-detector over the experts' bets, with its state between ticks. Pure numpy.

Each bet j carries M_j, which starts at 0 and goes through a tick's micro-batches by M_j ← (M_j + w)·L_j: w is the
micro-batch's share of the tick's rows and L_j the product of the bet's factors on it. M is the average of the M_j
with fixed weights. While the nulls hold, E[M] grows by 1 a tick at most; an alarm comes at M ≥ 1/α and sets M to 0,
so that E[alarms in T ticks] ≤ α·T (Shin, Ramdas and Rinaldo, *E-detectors*, 2203.03532). M is no e-value: without
drift its mean may reach the number of ticks since it was last 0.

Nulls: for an expert (see ``experts``), that P(y = 1) is within ±δ of l0 in log-odds, given the client and the past;
for regret, that no shadow's expected Brier gain on the champion is more than ε; for harm, which is counted apart
and asks for nothing, that the champion's expected Brier is at most the reference's upper bound. The rows of a tick
must come in an order that does not know the labels (``order``).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from attrition.drift import experts
from attrition.drift.bets import STAKES, betting_upper_bound, harm_stakes, lifetime_level, log_mean_exp, log_wealth
from attrition.drift.experts import Baseline
from attrition.drift.logistic import expit
from attrition.drift.order import micro_batches
from attrition.drift.state import Config, Evidence, State

__all__ = ["moved", "recall", "start", "update"]

Floats = npt.NDArray[np.float64]

MOST_LOG = 600.0
"""A micro-batch multiplies wealth by e^600 at most. Winning less keeps every guarantee; e^710 would overflow."""
BLAS = ThreadpoolController()
"""One thread: the products are small, and on a busy machine a second one is waited for longer than it works."""
REGRET_STAKES = np.array([0.1, 0.25, 0.5, 0.95])
"""Of the largest that cannot lose everything, 1/(1 + ε)."""
REGRET_SHADOWS = (1, 3)
"""The shadows whose gain is bet on: of 500 and of 3,000 rows."""
REGRET_WEIGHT = 1.0
MOVED = 1
"""The shadow that ``moved`` tells of: everything, on 500 rows."""


def _weights() -> Floats:
    """The bets' fixed weights, which sum to 1: the experts', then regret's, evenly over its bets."""
    regrets = len(REGRET_SHADOWS) * len(REGRET_STAKES)
    found = np.concatenate([experts.weights(), np.full(regrets, REGRET_WEIGHT / regrets)])
    total: Floats = found / found.sum()
    return total


WEIGHTS = _weights()
NAMES = experts.names() + ["regret"] * (len(WEIGHTS) - len(experts.names()))


def start(X: npt.ArrayLike, l: npt.ArrayLike, y: npt.ArrayLike, config: Config) -> State:  # noqa: E741
    """The state at deployment, from reference rows that neither trained nor promoted the champion.

    ``X`` is numbers of shape ``(rows, features)``, none missing; ``l`` the champion's log-odds and ``y`` the
    outcomes (0, 1), both ``(rows,)``. Few rows or one outcome are defined (none: harm can never be said, l0 is l);
    whether they are enough for a claim is the caller's.

    Raises:
        ValueError: shapes that do not agree, an outcome other than 0 and 1, or a value missing or infinite.
    """
    X, l, y = _checked(X, l, y)  # noqa: E741
    with BLAS.limit(limits=1):
        base = experts.baseline(X, l, y)
    width, bets = len(base.offset), len(WEIGHTS)
    rate = float(y.mean()) if y.size else 0.5
    return State(
        centre=base.centre,
        scale=base.scale,
        offset=base.offset,
        coefficients=np.zeros((len(experts.SHADOWS), width)),
        variances=np.ones((len(experts.SHADOWS), width)),
        reference=betting_upper_bound((expit(l) - y) ** 2, lifetime_level(config.k)),
        epsilon=config.gain * max(rate * (1 - rate), 1 / (y.size + 4)),  # one outcome only: as if few had the other
        rows=0,
        ticks=0,
        m=np.zeros(bets),
        c=np.ones(bets),
        since_row=np.zeros(bets, dtype=np.int64),
        since_tick=np.zeros(bets, dtype=np.int64),
        harm_logs=np.zeros(len(STAKES)),
        harm_m=np.zeros(len(STAKES)),
        design=np.zeros((width, 0)),
        l0=np.zeros(0),
        y=np.zeros(0),
    )


def update(
    state: State,
    X: npt.ArrayLike,
    l: npt.ArrayLike,  # noqa: E741
    y: npt.ArrayLike,
    config: Config,
) -> tuple[State, Evidence]:
    """One tick: its rows, shaped as for ``start`` and put in ``order``, all of them scored by this champion.

    A tick without rows changes nothing but the count of ticks.

    Raises:
        ValueError: as ``start``, another number of features, or a state that was loaded and has not got its rows back.
        FloatingPointError: a fit or a bet is not finite.
    """
    X, l, y = _fitting(state, X, l, y)  # noqa: E741
    if y.size and state.y.size != min(state.rows, experts.WINDOW):
        raise ValueError("this state was loaded without its rows; give them back with recall first")
    with BLAS.limit(limits=1):
        return _judged(state, X, l, y, config)


def _judged(state: State, X: Floats, l: Floats, y: Floats, config: Config) -> tuple[State, Evidence]:  # noqa: E741
    base, before = _base(state), state.y.size
    fresh = base.design(X, l)
    design, outcomes = np.hstack([state.design, fresh]), np.concatenate([state.y, y])
    l0, p = np.concatenate([state.l0, base.l0(l, fresh)]), expit(l)
    looks = [] if y.size else [_look(state, 0, config)]
    batches = micro_batches(y.size)
    for due, (low, high) in zip(range(len(batches) - 1, -1, -1), batches, strict=True):
        rows, past = slice(before + low, before + high), slice(before + high)
        bets = _bets(state, design[:, rows], l0[rows], p[low:high], outcomes[rows], config.delta)
        harm = log_wealth((p[low:high] - outcomes[rows]) ** 2 - state.reference, harm_stakes(state.reference))
        played = _play(state, bets, harm, (high - low) / y.size)
        looks.append(_look(played, y.size, config))
        played = replace(_restarted(played, looks[-1]), rows=state.rows + high - low)
        state = _learnt(played, design[:, past], l0[past], outcomes[past], due)
    last = slice(max(0, outcomes.size - experts.WINDOW), None)
    kept = replace(state, design=design[:, last].copy(), l0=l0[last].copy(), y=outcomes[last].copy())
    return replace(kept, ticks=state.ticks + 1), _summed(looks)


def recall(state: State, X: npt.ArrayLike, l: npt.ArrayLike, y: npt.ArrayLike) -> State:  # noqa: E741
    """A loaded state with its rows again: the last ones that it has judged, oldest first, as they were judged.

    Shapes are as for ``update``. Of the rows given the last ``state.rows`` or ``experts.WINDOW`` are taken, whichever
    is less; with the same numbers as then, the state is the same as the one saved to the last bit.

    Raises:
        ValueError: as ``update``, or fewer rows than that.
    """
    X, l, y = _fitting(state, X, l, y)  # noqa: E741
    needed = min(state.rows, experts.WINDOW)
    if y.size < needed:
        raise ValueError(f"the detector needs the last {needed} rows that it has judged; found {y.size}")
    last, base = slice(y.size - needed, None), _base(state)
    design = base.design(X[last], l[last])
    return replace(state, design=design, l0=base.l0(l[last], design), y=y[last])


def moved(state: State) -> Floats:
    """How far the coefficients of 1, l and the features have moved from l0, as the last 500 rows show it.

    Shape ``(2 + features,)``, in log-odds a standard deviation of the reference; an estimate that is drawn towards 0.
    """
    found: Floats = state.coefficients[MOVED].copy()
    return found


def _base(state: State) -> Baseline:
    return Baseline(state.centre, state.scale, state.offset)


def _fitting(
    state: State,
    X: npt.ArrayLike,
    l: npt.ArrayLike,  # noqa: E741
    y: npt.ArrayLike,
) -> tuple[Floats, Floats, Floats]:
    """The arrays checked, also that this state can read them."""
    features, odds, outcomes = _checked(X, l, y)
    width = len(state.offset) - 2
    if features.shape[1] != width:
        raise ValueError(f"the detector was started on {width} features; these rows have {features.shape[1]}")
    if state.m.shape != WEIGHTS.shape:
        raise ValueError(f"this state has {state.m.size} bets, the detector {len(WEIGHTS)}; start it anew")
    return features, odds, outcomes


def _checked(X: npt.ArrayLike, l: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:  # noqa: E741
    features, odds, outcomes = (np.asarray(values, dtype=np.float64) for values in (X, l, y))
    if features.ndim != 2 or odds.shape != (len(features),) or outcomes.shape != odds.shape:
        raise ValueError(f"features {features.shape}, log-odds {odds.shape}, outcomes {outcomes.shape} do not agree")
    if not (np.isfinite(features).all() and np.isfinite(odds).all()):
        raise ValueError("features and log-odds must be finite; encode missing values first")
    if not np.isin(outcomes, (0.0, 1.0)).all():
        raise ValueError("outcomes must be 0 or 1; drop the rows without an outcome first")
    return features, odds, outcomes


def _bets(state: State, design: Floats, l0: Floats, p: Floats, y: Floats, delta: float) -> Floats:
    """log L of every bet on these rows, from what was learnt before them; shape ``(bets,)``."""
    seen = experts.thrifty(state.coefficients, state.variances) @ design
    fixable = experts.log_factors(experts.views(seen), l0, y, delta).sum(axis=1)
    loss, stakes = (p - y) ** 2, REGRET_STAKES / (1 + state.epsilon)
    shadows = [expit(l0 + np.clip(seen[shadow], -experts.REACH, experts.REACH)) for shadow in REGRET_SHADOWS]
    regret = [log_wealth(loss - (q - y) ** 2 - state.epsilon, stakes) for q in shadows]
    return np.concatenate([fixable, *regret])


def _learnt(state: State, design: Floats, l0: Floats, y: Floats, due: int) -> State:
    coefficients, variances = experts.refit(state.coefficients, state.variances, design, l0, y, due)
    return replace(state, coefficients=coefficients, variances=variances)


def _play(state: State, bets: Floats, harm: Floats, share: float) -> State:
    """All wealth after a micro-batch that holds this share of its tick's rows."""
    grown, restart = np.exp(np.minimum(bets, MOST_LOG)), state.c <= 1
    return replace(
        state,
        m=(state.m + share) * grown,
        c=np.maximum(state.c, 1.0) * grown,
        since_row=np.where(restart, state.rows, state.since_row),
        since_tick=np.where(restart, state.ticks, state.since_tick),
        harm_m=(state.harm_m + share) * np.exp(np.minimum(harm, MOST_LOG)),
        harm_logs=state.harm_logs + harm,
    )


def _restarted(state: State, look: Evidence) -> State:
    """After an alarm its wealth is spent."""
    if look.alarm:
        state = replace(state, m=np.zeros_like(state.m), c=np.ones_like(state.c))
    return replace(state, harm_m=np.zeros_like(state.harm_m)) if look.harm_alarm else state


def _look(state: State, n: int, config: Config) -> Evidence:
    """What the wealth says at this moment.

    Raises:
        FloatingPointError: it is not a number, or beyond all numbers.
    """
    weighted = WEIGHTS * state.m
    m, harm = float(weighted.sum()), float(state.harm_m.mean())
    if not (math.isfinite(m) and math.isfinite(harm)):
        raise FloatingPointError("the evidence is not finite; nothing can be said of this tick")
    best = int(np.argmax(weighted))
    return Evidence(
        m=m,
        share=m * config.alpha,
        log10=math.log10(m) if m > 0 else None,
        alarm=m >= 1 / config.alpha,
        change_row=int(state.since_row[best]) if m > 0 else None,
        change_ticks=state.ticks - int(state.since_tick[best]) if m > 0 else None,
        best=NAMES[best] if m > 0 else None,
        n=n,
        harm=harm,
        harm_alarm=harm >= 1 / config.alpha,
        harm_log10_e=log_mean_exp(state.harm_logs) / math.log(10),
        reference=state.reference,
    )


def _summed(looks: list[Evidence]) -> Evidence:
    """A tick's evidence: at its first alarm, else at its end; of harm likewise."""
    alarmed = next((look for look in looks if look.alarm), looks[-1])
    harmed = next((look for look in looks if look.harm_alarm), looks[-1])
    e = looks[-1].harm_log10_e
    return replace(alarmed, harm=harmed.harm, harm_alarm=harmed.harm_alarm, harm_log10_e=e)
