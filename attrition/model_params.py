"""How a model is trained, judged and used: `model`, `rules`, `costs`, `bands` and `engine` of a portfolio's YAML."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from attrition import classifiers
from attrition.column_params import Strict

__all__ = ["Bands", "Cluster", "Costs", "ModelParams", "Rules", "Share"]

SEEDS = 2**32
"""How many seeds scikit-learn knows."""

Share = Annotated[float, Field(gt=0, lt=1)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ModelParams(Strict):
    """The classifier and how it is trained."""

    kind: Annotated[str, Field(alias="class")] = classifiers.DEFAULT
    params: dict[str, Any] = Field({})  # of the class, as scikit-learn names them
    C: Annotated[float, Field(gt=0)] = 1.0  # inverse strength of the L2 penalty, of LogisticRegression
    max_iter: Annotated[int, Field(ge=1)] = 1000
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    holdback: Share = 0.25  # share of the new labelled rows, the newest, that a challenger never sees
    least_rows: Annotated[int, Field(ge=4)] = 10  # labelled rows before a first model is tried
    learning_rows: Annotated[int, Field(ge=0)] = 400  # of a model trained on fewer nothing is claimed
    least_each: Annotated[int, Field(ge=2)] = 2  # of each class, in what is trained on
    scale_rows: Annotated[int, Field(ge=1)] = 1_000_000  # from so many rows on, statistics and fit never load them

    @model_validator(mode="after")
    def _checks(self) -> Self:
        if self.kind not in (known := classifiers.allowed()):
            near = get_close_matches(self.kind, known, 1)
            raise ValueError(
                f"class: {self.kind!r:.80} is not on the list{f'; did you mean {near[0]}?' if near else ''}; there are "
                f"{', '.join(sorted(known))}; ATTRITION_CLASSIFIERS adds to them"
            )
        if self.kind != classifiers.DEFAULT and (given := {"C", "max_iter"} & self.model_fields_set):
            raise ValueError(
                f"{min(given)}: a parameter of {classifiers.DEFAULT}; those of {self.kind} go under params"
            )
        return self


class Cluster(Strict):
    """Where the heavy work runs, if not on the runner's machine."""

    dask: Annotated[str, Field(pattern=r"^(tcp|tls)://[^\s/@]+:[0-9]{1,5}$")]  # the scheduler's address


class Rules(Strict):
    """When to retrain and when to promote."""

    false_retrains: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2  # a year, on average, at most
    ticks_a_year: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 365  # that bring outcomes
    tolerance: Annotated[float, Field(ge=0.05, le=2)] = 0.3  # log-odds that the champion may be off without a refit
    gain: Annotated[float, Field(gt=0, lt=0.5)] = 0.005  # of the outcome's variance: a challenger must gain more
    give_up: Annotated[int, Field(ge=1)] = 40  # ticks that a challenger may be on trial, and
    give_up_rows: Annotated[int, Field(ge=0)] = 4000  # the clients: it is given up when both have passed
    reference_rows: Annotated[int, Field(ge=1)] = 200  # that the champion was held against, before a claim is made
    reference_each: Annotated[int, Field(ge=1)] = 20  # of each outcome, among them

    @model_validator(mode="after")
    def _checks(self) -> Self:
        if self.alpha >= 0.1:
            raise ValueError(
                f"false_retrains / ticks_a_year is {self.alpha:.3g}, a false retrain every few ticks; it must be "
                "below 0.1: lower false_retrains, or raise ticks_a_year to what there really are"
            )
        if self.alpha == 0:
            raise ValueError("false_retrains / ticks_a_year is too small to tell from 0: raise false_retrains")
        return self

    @property
    def alpha(self) -> float:
        """False retrains a tick, on average, at most."""
        return self.false_retrains / self.ticks_a_year


class Costs(Strict):
    """What a call costs and brings, in one currency: the threshold above which a call pays follows."""

    call: Amount
    client: Amount  # the value of a client that is kept
    kept: Annotated[float, Field(gt=0, le=1)]  # share of the leavers who stay when they are called
    currency: Annotated[str, Field(max_length=8)] = ""

    @model_validator(mode="after")
    def _checks(self) -> Self:
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"call / (kept * client) is {self.threshold:.3g}; as a threshold it must be between 0 and 1: "
                "a call must cost less than it brings when the client would surely leave"
            )
        return self

    @property
    def threshold(self) -> float:
        """The probability of leaving from which on a call brings more than it costs."""
        return self.call / self.kept / self.client


class Bands(Strict):
    """Where a risk is called medium and high."""

    medium: Share = 0.3
    high: Share = 0.6

    @model_validator(mode="after")
    def _checks(self) -> Self:
        if self.medium >= self.high:
            raise ValueError("medium must be below high")
        return self
