"""One look for all that notebooks show: colours, pictures, and tables of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import seaborn as sns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from attrition.drift import Comparison

__all__ = [
    "BLUE",
    "INK",
    "MAP",
    "ORANGE",
    "comparison_table",
    "history",
    "intervals",
    "metric_table",
    "shares",
    "summary_table",
    "table",
    "theme",
]

# Of Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, INK = "#0072B2", "#D55E00", "#333333"
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
        rc={"figure.figsize": (7, 3.6), "axes.titlesize": "medium", "axes.titlelocation": "left", "font.size": 10},
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


def comparison_table(comparison: Comparison | None) -> pd.DataFrame:
    """A comparison of two errors, a line a figure."""
    if comparison is None:
        return pd.DataFrame({"": {"difference": "nothing to compare"}})
    figures = {
        "difference": f"{comparison.difference:+.4f}",
        "interval": f"{comparison.low:+.4f} to {comparison.high:+.4f}",
        "rows": f"{comparison.n_new:,} against {comparison.n_reference:,}",
        "above zero beyond doubt": "yes" if comparison.says else "no",
    }
    return pd.DataFrame({"": figures})


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
