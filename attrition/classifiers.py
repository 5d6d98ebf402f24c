"""Which classifiers a portfolio's YAML may name: a list of scikit-learn's, and what an operator adds to it.

A name in a YAML must not be a way to run code, so the list is here and in the environment of cron and API, and not in
the YAML: ``ATTRITION_CLASSIFIERS=lightgbm.sklearn:LGBMClassifier`` adds one, and trusts the pickles of its package.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from attrition.home import UsageError

__all__ = ["DEFAULT", "NAMES", "allowed", "build", "trusted"]

DEFAULT = "LogisticRegression"
NAMES = {
    name: f"sklearn.{module}"
    for module, names in {
        "discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
        "ensemble": "AdaBoostClassifier BaggingClassifier ExtraTreesClassifier GradientBoostingClassifier"
        " HistGradientBoostingClassifier RandomForestClassifier",
        "gaussian_process": "GaussianProcessClassifier",
        "linear_model": "LogisticRegression LogisticRegressionCV",
        "naive_bayes": "BernoulliNB GaussianNB",
        "neighbors": "KNeighborsClassifier",
        "neural_network": "MLPClassifier",
        "tree": "DecisionTreeClassifier ExtraTreeClassifier",
    }.items()
    for name in names.split()
}
"""Those of scikit-learn that give probabilities and are made of plain parameters: name -> module."""
ADDED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")
VARIABLE = "ATTRITION_CLASSIFIERS"


def allowed() -> dict[str, str]:
    """All names that a YAML may give, each with the module that its class is in.

    Raises:
        UsageError: the environment's list is not ``module:Class``, with commas between.
    """
    added = {}
    for given in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        if not (found := ADDED.fullmatch(given)):
            raise UsageError(f"{VARIABLE}: {given[:80]!r} is not module:Class, such as lightgbm.sklearn:LGBMClassifier")
        added[found[2]] = found[1]
    return NAMES | added


def trusted() -> set[str]:
    """Packages whose names a pickle may hold beside the list of ``pickles``: those of the classifiers added."""
    return {module.partition(".")[0] for name, module in allowed().items() if NAMES.get(name) != module}


def build(name: str, params: Mapping[str, Any], seed: int) -> Any:
    """An untrained classifier, seeded where it takes a seed.

    Raises:
        UsageError: it is not on the list, cannot be imported, or does not know a parameter.
    """
    if (module := allowed().get(name)) is None:
        raise UsageError(f"model.class: {name!r} is not one of {', '.join(sorted(allowed()))}; see {VARIABLE}")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"model.class: {module}:{name} cannot be imported: {error}") from None
    known = inspect.signature(kind).parameters
    if unknown := sorted(params.keys() - known.keys()):
        raise UsageError(f"model.params: {name} has no {', '.join(unknown)}; it has {', '.join(known)}")
    seeded = {"random_state": seed} if "random_state" in known else {}
    return kind(**{**seeded, **params})
