"""Reading a model's pickle, which can run code: only the names below are ever looked up.

A list of what is forbidden could always be got round, so this is one of what is allowed, name by name.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from attrition import classifiers

__all__ = ["ALLOWED", "CLASSIFIERS", "Bone", "bones", "load"]

ALLOWED = frozenset(
    {
        ("builtins", "slice"),
        ("numpy", "dtype"),
        ("numpy", "float64"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("sklearn.compose._column_transformer", "ColumnTransformer"),
        ("sklearn.impute._base", "SimpleImputer"),
        ("sklearn.linear_model._logistic", "LogisticRegression"),
        ("sklearn.pipeline", "Pipeline"),
        ("sklearn.preprocessing._data", "StandardScaler"),
        ("sklearn.preprocessing._encoders", "OneHotEncoder"),
    }
)
"""All that the pickle of ``attrition.model`` names."""

CLASSIFIERS = frozenset(
    (f"{room}.{module}" if module else room, name)
    for room, module, names in (
        ("numpy.random", "_mt19937", "MT19937"),
        ("numpy.random", "_pcg64", "PCG64"),
        ("numpy.random", "_pickle", "__bit_generator_ctor __generator_ctor __randomstate_ctor"),
        ("numpy.random", "bit_generator", "SeedSequence __pyx_unpickle_SeedSequence"),
        ("sklearn._loss", "_loss", "CyHalfBinomialLoss"),
        ("sklearn._loss", "link", "Interval LogitLink"),
        ("sklearn._loss", "loss", "HalfBinomialLoss"),
        ("sklearn.calibration", "", "CalibratedClassifierCV _CalibratedClassifier _SigmoidCalibration"),
        ("sklearn.discriminant_analysis", "", "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis"),
        ("sklearn.dummy", "", "DummyClassifier"),
        ("sklearn.ensemble", "_bagging", "BaggingClassifier"),
        ("sklearn.ensemble", "_forest", "ExtraTreesClassifier RandomForestClassifier"),
        ("sklearn.ensemble", "_gb", "GradientBoostingClassifier"),
        ("sklearn.ensemble._hist_gradient_boosting", "binning", "_BinMapper"),
        ("sklearn.ensemble._hist_gradient_boosting", "gradient_boosting", "HistGradientBoostingClassifier"),
        ("sklearn.ensemble._hist_gradient_boosting", "predictor", "TreePredictor"),
        ("sklearn.ensemble", "_stacking", "StackingClassifier"),
        ("sklearn.ensemble", "_voting", "VotingClassifier"),
        ("sklearn.ensemble", "_weight_boosting", "AdaBoostClassifier"),
        ("sklearn.gaussian_process", "_gpc", "GaussianProcessClassifier _BinaryGaussianProcessClassifierLaplace"),
        ("sklearn.gaussian_process", "kernels", "ConstantKernel Product RBF"),
        ("sklearn.linear_model", "_logistic", "LogisticRegressionCV"),
        ("sklearn.metrics", "_dist_metrics", "EuclideanDistance64 newObj"),
        ("sklearn.naive_bayes", "", "BernoulliNB GaussianNB"),
        ("sklearn.neighbors", "_classification", "KNeighborsClassifier RadiusNeighborsClassifier"),
        ("sklearn.neighbors", "_kd_tree", "KDTree newObj"),
        ("sklearn.neural_network", "_multilayer_perceptron", "MLPClassifier"),
        ("sklearn.neural_network", "_stochastic_optimizers", "AdamOptimizer"),
        ("sklearn.preprocessing", "_label", "LabelBinarizer LabelEncoder"),
        ("sklearn.semi_supervised", "_label_propagation", "LabelPropagation LabelSpreading"),
        ("sklearn.svm", "_classes", "LinearSVC SVC"),
        ("sklearn.tree", "_classes", "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier"),
        ("sklearn.tree", "_tree", "Tree"),
        ("sklearn.utils", "_bunch", "Bunch"),
    )
    for name in names.split()
)
"""What the pickles of scikit-learn's other classifiers name beyond that."""


class Bone:
    """What stands in the place of a scikit-learn object whose class was not imported: its attributes."""


PLAIN = frozenset({("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "set")})
"""What the pickles of classifiers that an operator added may name beside their own package."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self._trusted = classifiers.trusted()

    def find_class(self, module: str, name: str) -> Any:
        added = self._trusted and ((module, name) in PLAIN or module.partition(".")[0] in self._trusted)
        if not added and (module, name) not in ALLOWED | CLASSIFIERS:
            raise pickle.UnpicklingError(f"it names {module}.{name}"[:120])
        return super().find_class(module, name)


class _Bones(_Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED and module.startswith("sklearn."):
            return type(name, (Bone,), {})
        if module.startswith("sklearn.") or module.partition(".")[0] in self._trusted:
            raise pickle.UnpicklingError("another classifier")
        return super().find_class(module, name)


def load(data: bytes) -> Any:
    """What a pickle holds.

    Raises:
        pickle.UnpicklingError: it names what is not on the list.
        Exception: anything, where the pickle was made up.
    """
    return _Unpickler(io.BytesIO(data)).load()


def bones(data: bytes) -> Any:
    """The same without scikit-learn, whose import takes seconds and 130 MB: each of its objects is a ``Bone``.

    Raises:
        pickle.UnpicklingError: the pickle holds another classifier than the logistic regression.
        Exception: as ``load``.
    """
    return _Bones(io.BytesIO(data)).load()
