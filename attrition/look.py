"""One look for all that notebooks show: colours, pictures, and tables of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import seaborn as sns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from attrition.policy import Trial

__all__ = [
    "BLUE",
    "INK",
    "MAP",
    "ORANGE",
    "evidence",
    "gain",
    "history",
    "intervals",
    "metric_table",
    "reliability",
    "segment_table",
    "shares",
    "summary_table",
    "table",
    "theme",
    "trial_table",
    "worth",
    "worth_table",
]

# Of Okabe and Ito's palette, which colour-blind readers can tell apart; pages/templates/style.css has the same.
BLUE, ORANGE, INK, SOFT, LINE = "#0072B2", "#D55E00", "#1C2024", "#565D64", "#DCDCD5"
MAP = sns.light_palette(BLUE, as_cmap=True)

_MEASURES = {"brier": "error (Brier)", "log_loss": "log loss", "auc": "AUC", "f1": "F1"}


def theme() -> None:
    """Set fonts, colours and size for every picture of the notebook, and let tables show their texts whole."""
    pd.set_option("display.max_colwidth", None)
    pd.set_option("display.precision", 3)
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette=[BLUE, ORANGE, "#009E73", "#CC79A7"],
        rc={
            **{"figure.figsize": (7, 3.6), "axes.titlesize": "medium", "axes.titlelocation": "left", "font.size": 10},
            **{"axes.edgecolor": LINE, "grid.color": LINE, "grid.linewidth": 0.8, "axes.spines.top": False},
            **{"axes.spines.right": False, "text.color": INK, "axes.labelcolor": SOFT, "xtick.color": SOFT},
            **{"ytick.color": SOFT, "axes.titlecolor": INK, "legend.frameon": False, "axes.titleweight": "bold"},
        },
    )


def table(rows: Sequence[Mapping[str, Any]], key: str) -> pd.DataFrame | str:
    """Rows under the values of their ``key``, empty cells blank; without rows a word that says so."""
    if not rows:
        return "none"
    return pd.DataFrame(rows).set_index(key).rename_axis(None).astype(object).fillna("")


def metric_table(scores: Mapping[str, Mapping[str, Any] | None]) -> pd.DataFrame:
    """A column a score of :func:`attrition.metrics.score`, each measure with its interval; None reads "no rows"."""
    columns = {}
    for name, score in scores.items():
        if score is None:
            columns[name] = {"rows": "no rows"}
            continue
        measures = {label: _interval(score[measure]) for measure, label in _MEASURES.items()}
        columns[name] = {"rows": f"{score['n']:,}", "left": f"{score['positives']:,}", **measures}
    return pd.DataFrame(columns).fillna("")


def segment_table(segments: Sequence[Mapping[str, Any]]) -> pd.DataFrame | str:
    """A row a segment of :func:`attrition.monitoring.segments`."""
    if not segments:
        return "There is no shown column with few enough values, or no client to tell by."
    rows = [
        {
            "": f"{each['label']} {each['value']}",
            "clients": f"{each['n']:,}",
            "predicted to leave": f"{each['predicted']:.0%}",
            "left": f"{each['observed']:.0%}",
            "error (Brier)": _interval(each["brier"]),
        }
        for each in segments
    ]
    return table(rows, "")


def trial_table(trial: Trial) -> pd.DataFrame | str:
    """How far a challenger's proof has come, a line a figure."""
    if trial.gain is None:
        return "There is no client that counts and that neither model has seen."
    figures = {
        "clients": f"{trial.n:,}",
        "gain (Brier)": f"{trial.gain:+.4f} ({trial.low:+.4f} to {trial.high:+.4f})",
        "proof": f"{_times(trial.log10)} of the {_times(trial.needed)} that a promotion needs",
        "proven": "yes" if trial.proven else "no",
    }
    return pd.DataFrame({"": figures})


def worth_table(worth: Mapping[str, Mapping[str, Any]], currency: str) -> pd.DataFrame:
    """A column a model: what calling by its list would have brought, of :func:`attrition.value.realised`."""
    columns = {
        f"model {version}": {
            "called": f"{found['called']:,}",
            "of them left": f"{found['left']:,}",
            "gain": f"{found['gain']['value']:,.0f} ({found['gain']['low']:,.0f} to {found['gain']['high']:,.0f})",
            "promised": f"{found['expected']:,.0f}",
        }
        for version, found in worth.items()
    }
    return pd.DataFrame(columns).rename_axis(currency or None)


def _times(log10: float) -> str:
    return f"10^{log10:.0f}" if abs(log10) > 4 else f"{10**log10:,.3g}"


def evidence(axes: Axes, looks: Sequence[Mapping[str, Any]], alpha: float) -> None:
    """The detector's evidence, a dot a look of :class:`attrition.watch.Look`, on a log scale with what an alarm needs.

    The vertical line is where the newest alarm's change is thought to have set in.
    """
    ticks = range(1, len(looks) + 1)
    shown = [10 ** max(-2.0, look["log10"] if look["log10"] is not None else -2.0) for look in looks]
    axes.plot(ticks, shown, "-", color=BLUE, linewidth=1.5)
    alarms = [(tick, height, look) for tick, height, look in zip(ticks, shown, looks, strict=True) if look["alarm"]]
    axes.plot([tick for tick, *_ in alarms], [height for _, height, _ in alarms], "o", color=ORANGE, label="alarm")
    axes.axhline(1 / alpha, color=INK, linestyle="--", linewidth=1, label="what a retrain needs")
    if alarms and alarms[-1][2]["change"] is not None:
        since = sum(look["version"] < alarms[-1][2]["change"] for look in looks) + 0.5
        axes.axvline(since, color=ORANGE, linestyle=":", linewidth=1.5, label="change thought to be here")
    axes.set_yscale("log")
    axes.set(xlabel="ticks with outcomes", ylabel="evidence (M)", ylim=(0.01, max(10 / alpha, 2 * max(shown))))
    axes.legend(loc="lower right", fontsize="small")


def history(axes: Axes, scores: pd.DataFrame) -> None:
    """Brier scores with their intervals, a row a run (columns ``run``, ``brier``, ``low``, ``high``)."""
    spread = [scores["brier"] - scores["low"], scores["high"] - scores["brier"]]
    axes.errorbar(scores["run"], scores["brier"], yerr=spread, fmt="-o", color=BLUE, ecolor=INK, elinewidth=1)
    axes.set(xlabel="runs, oldest first", ylabel="error (Brier)", xticks=[], ylim=(0, None))


def _interval(measure: Mapping[str, float | None]) -> str:
    if measure["value"] is None:
        return "undefined"
    if measure["low"] is None or measure["high"] is None:
        return f"{measure['value']:.3f}"
    return f"{measure['value']:.3f} ({measure['low']:.3f} to {measure['high']:.3f})"


def summary_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """A row a column of :func:`attrition.summary.summarise`."""
    rows = [
        {
            "column": name,
            "type": column["type"],
            **{key: column.get(key) for key in ("mean", "median", "std")},
            "missing": f"{column['missing']:.1%}" if column["missing"] is not None else "",
            "most common": ", ".join(str(value) for value, _ in column.get("top", ())[:3]),
        }
        for name, column in summary["columns"].items()
    ]
    return pd.DataFrame(rows).set_index("column").rename_axis(None).round(3).astype(object).fillna("")


def shares(missing: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row a column of :func:`attrition.diagnosis.missing`, as percentages."""
    columns = pd.DataFrame(missing).set_index("column").rename_axis(None)
    return columns.map(lambda share: "no rows" if pd.isna(share) else f"{share:.1%}")


def intervals(axes: Axes, measures: Mapping[str, Mapping[str, float]]) -> None:
    """A dot with a line from low to high for each measure, the first on top."""
    for row, measure in enumerate(reversed(list(measures.values()))):
        axes.plot([measure["low"], measure["high"]], [row, row], color=INK, linewidth=1.5)
        axes.plot(measure["value"], row, "o", color=BLUE)
    axes.set_yticks(range(len(measures)), list(measures)[::-1])
    axes.set_ylim(-0.6, len(measures) - 0.4)


def reliability(axes: Axes, bins: Sequence[Mapping[str, float]]) -> None:
    """Observed shares of leavers over predicted ones with their intervals (:func:`attrition.metrics.calibration`).

    On the dashed diagonal the risks are what they say. A dot's area grows with its clients.
    """
    predicted, observed = ([each[key] for each in bins] for key in ("predicted", "observed"))
    most = max((each["n"] for each in bins), default=1)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    axes.vlines(predicted, [each["low"] for each in bins], [each["high"] for each in bins], color=INK, linewidth=1)
    axes.scatter(predicted, observed, s=[20 + 80 * each["n"] / most for each in bins], color=BLUE, zorder=3)
    axes.set(xlabel="predicted risk of leaving", ylabel="share that left", xlim=(0, 1), ylim=(0, 1))


def gain(axes: Axes, curve: Sequence[Mapping[str, float]]) -> None:
    """Leavers found over clients called, the highest risk first (:func:`attrition.metrics.gain_curve`).

    The dashed diagonal is calling at random.
    """
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    axes.plot([each["share"] for each in curve], [each["found"] for each in curve], color=BLUE)
    axes.set(xlabel="share of clients called", ylabel="share of leavers found", xlim=(0, 1), ylim=(0, 1.02))


def worth(axes: Axes, plan: Mapping[str, Any], currency: str) -> None:
    """What calling the clients of highest risk is expected to bring (:func:`attrition.value.plan`), the best marked."""
    points = plan["points"]
    axes.axhline(0, color=INK, linewidth=1)
    axes.plot([each["called"] for each in points], [each["gain"] for each in points], color=BLUE)
    axes.plot(plan["called"], plan["gain"], "o", color=ORANGE)
    axes.set(xlabel="clients called, the highest risk first", ylabel=f"expected gain {currency}".strip())
