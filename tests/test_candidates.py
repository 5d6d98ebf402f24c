"""What a challenger is trained on, held to the generator's law after changes of a known kind."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

from attrition import candidates, generator, model
from attrition.candidates import tried
from attrition.home import REPOSITORY
from attrition.params import load

DEMO = load(REPOSITORY / "params" / "demo.yaml")
OLD, NEW = 1500, 240
SEEDS = range(8)
ALL = ["recalibrated", "offset", "recent", "weighted", "all"]


def clients(stream, tick, rows):
    """As the store gives them: float64 with NaN, object with None."""
    frame = stream.tick(tick, rows)
    numbers = {name: frame[name].astype(float) for name in [*DEMO.numeric, DEMO.target.column]}
    return pd.DataFrame(numbers | {name: frame[name].astype(object) for name in DEMO.categorical})


def scene(kind, seed):
    """Old clients, new ones after the change of ``kind``, and the champion of the old ones."""
    stream = generator.stream(kind, seed=seed, change=1, start=date(2026, 1, 5))
    train = pd.concat([clients(stream, 0, OLD), clients(stream, 1, NEW)], ignore_index=True)
    train = train.assign(_row=np.arange(len(train)) + 1, _counted=np.arange(len(train)) + 1)  # a version a row
    return stream, train, model.fit(DEMO, train.head(OLD))


def regrets(kind):
    """The mean squared distance from the law of the first candidate, of each by name, and of the champion."""
    rows = []
    for seed in SEEDS:
        stream, train, champion = scene(kind, seed)
        fresh, truth = clients(stream, 2, 3000), stream.truth(2, 3000)
        found = tried(DEMO, train, champion, OLD, OLD + 1)
        named = {one.name: one.pipeline for one in found} | {"first": found[0].pipeline, "champion": champion}
        rows.append({name: np.mean((model.probabilities(each, fresh) - truth) ** 2) for name, each in named.items()})
    return pd.DataFrame(rows).mean()


def test_after_an_abrupt_change_the_first_is_much_nearer_to_the_law_than_a_model_on_all():
    found = regrets("abrupt")
    assert found["first"] < found["all"] / 3  # a quarter
    assert found["weighted"] < found["all"] / 2


def test_after_a_change_of_the_base_rate_it_is_enough_to_recalibrate():
    found = regrets("prior")
    assert found["recalibrated"] < found["all"] / 3  # a fifth
    assert found["first"] < 1.2 * found["recalibrated"]


def test_without_a_change_next_to_nothing_is_lost():
    found = regrets("none")
    assert found["first"] < found["champion"] + 0.002  # .0009 more; a constant forecast is off by .04


@pytest.fixture(scope="module")
def changed():
    return scene("abrupt", seed=3)


@pytest.fixture(scope="module")
def found(changed):
    _, train, champion = changed
    return tried(DEMO, train, champion, OLD, OLD + 1)


def test_every_way_is_told_with_its_rows_and_its_loss(found):
    assert sorted(one.name for one in found) == sorted(ALL)
    assert {one.scored for one in found} == {NEW * 3 // 4}
    assert {one.name: one.rows for one in found} == {
        **dict.fromkeys(("recalibrated", "offset", "recent"), NEW),
        **dict.fromkeys(("weighted", "all"), OLD + NEW),
    }
    words = {one.name: one.words for one in found}
    assert words["recalibrated"] == "the old model with intercept and slope set anew on 240 clients"
    assert words["recent"] == "a new model on the 240 clients since the change"
    losses = [one.loss for one in found[1:]]
    assert losses == sorted(losses)


def test_a_loss_is_of_models_that_had_seen_the_rows_before_only(changed, found):
    _, train, _ = changed
    losses = []
    for begin in (60, 120, 180):
        pipeline = model.fit(DEMO, train.iloc[OLD : OLD + begin])
        block = train.iloc[OLD + begin : OLD + begin + 60]
        losses.append(np.mean((model.probabilities(pipeline, block) - block["churned"]) ** 2))
    assert next(one.loss for one in found if one.name == "recent") == pytest.approx(np.mean(losses), abs=1e-12)


def test_of_what_noise_cannot_tell_apart_the_simplest_comes_first(found):
    ranked = {"recalibrated": [0.2, 0.3, 0.1], "offset": [0.3, 0.1, 0.15], "all": [0.9, 0.9, 0.8], "weighted": None}
    losses = {name: None if loss is None else np.array(loss) for name, loss in ranked.items()}
    means = {name: None if loss is None else float(loss.mean()) for name, loss in losses.items()}
    given = [candidates.Candidate(name, "", 3, means[name], 3, found[0].pipeline) for name in losses]
    order = [one.name for one in candidates._ranked(given, losses)]
    assert order == ["recalibrated", "offset", "all", "weighted"]
    losses["recalibrated"] = losses["offset"] + (0.05, 0.06, 0.05)  # hardly more, but every time
    given[0] = candidates.Candidate("recalibrated", "", 3, float(losses["recalibrated"].mean()), 3, given[0].pipeline)
    assert candidates._ranked(given, losses)[0].name == "offset"


def test_the_recalibrated_champion_is_a_plus_b_times_its_logit(changed, found):
    _, train, champion = changed
    one = next(one for one in found if one.name == "recalibrated")
    logits = [pipeline.decision_function(train) for pipeline in (champion, one.pipeline)]
    slope, intercept = np.polyfit(*logits, 1)
    assert logits[1] == pytest.approx(intercept + slope * logits[0], abs=1e-9)
    assert abs(slope - 1) > 0.1  # the law has turned
    new = train.tail(NEW)
    assert model.probabilities(one.pipeline, new).mean() == pytest.approx(new["churned"].mean(), abs=0.01)


def test_the_offset_is_the_ridge_optimum_around_the_recalibrated_champion(changed, found):
    _, train, _ = changed
    nearer, one = (next(each.pipeline for each in found if each.name == name) for name in ("recalibrated", "offset"))
    new = train.tail(NEW)
    encoded = one["columns"].transform(new)
    residuals = new["churned"].to_numpy() - model.probabilities(one, new)
    moved = one["classifier"].coef_ - nearer["classifier"].coef_
    assert residuals @ encoded == pytest.approx(candidates.OFFSET_RIDGE * moved[0], abs=1e-6)
    shift = one["classifier"].intercept_[0] - nearer["classifier"].intercept_[0]
    assert residuals.sum() == pytest.approx(candidates.OFFSET_RIDGE * shift, abs=1e-6)
    assert abs(shift) > 0.01


def test_a_mended_champion_explains_itself_and_the_old_one_stays(changed, found):
    _, train, champion = changed
    before = model.fit(DEMO, train.head(OLD))
    assert champion["classifier"].coef_.tobytes() == before["classifier"].coef_.tobytes()
    for one in found:
        base = model.baseline(one.pipeline, train)
        parts = model.contributions(one.pipeline, DEMO, train, base)
        chances = model.probabilities(one.pipeline, train)
        assert base[model.BASE] + parts.sum(axis=1) == pytest.approx(np.log(chances / (1 - chances)), abs=1e-9)
        assert {entry["feature"] for entry in model.coefficients(one.pipeline, DEMO)} == set(DEMO.features)


def test_the_same_rows_give_the_same_candidates_to_the_last_bit(changed, found):
    _, train, champion = changed
    again = tried(DEMO, train.copy(), champion, OLD, OLD + 1)
    assert [(one.name, one.loss) for one in again] == [(one.name, one.loss) for one in found]
    for one, other in zip(found, again, strict=True):
        assert one.pipeline["classifier"].coef_.tobytes() == other.pipeline["classifier"].coef_.tobytes()
        assert one.pipeline["classifier"].intercept_.tobytes() == other.pipeline["classifier"].intercept_.tobytes()


def test_rows_without_an_outcome_change_nothing(changed, found):
    _, train, champion = changed
    waiting = train.tail(50).assign(
        churned=np.nan, _row=train["_row"].tail(50) + 50, _counted=train["_row"].tail(50) + 50
    )
    again = tried(DEMO, pd.concat([train, waiting]), champion, OLD, OLD + 1)
    assert [(one.name, one.loss) for one in again] == [(one.name, one.loss) for one in found]


@pytest.mark.parametrize(
    ("champion", "trained_version", "since_version", "names"),
    [
        (False, 0, 0, ["all"]),
        (False, 0, OLD + 1, ["recent", "weighted", "all"]),
        (True, OLD, OLD + 1, ALL),
        (True, OLD, 0, ["recalibrated", "offset", "weighted", "all"]),
        (True, OLD, OLD + NEW - 20, ["recalibrated", "offset", "weighted", "all"]),  # 21 rows tell nothing of a change
        (True, OLD + NEW - 20, OLD + 1, ["all"]),  # 20 rows that the champion has not seen mend nothing
        (True, OLD + NEW, 0, ["all"]),
    ],
)
def test_what_can_be_tried_depends_on_what_is_known(changed, champion, trained_version, since_version, names):
    _, train, pipeline = changed
    found = tried(DEMO, train, pipeline if champion else None, trained_version, since_version)
    assert sorted(one.name for one in found) == sorted(names)
    assert all(one.loss is not None for one in found)


def test_a_model_that_is_no_sum_is_not_mended(changed):
    _, train, _ = changed
    forest = model.build(DEMO).set_params(classifier=RandomForestClassifier(5, random_state=0))
    old = train.head(OLD)
    forest.fit(old[[*DEMO.numeric, *DEMO.categorical]], old["churned"].astype(int))
    assert {one.name for one in tried(DEMO, train, forest, OLD)} == {"weighted", "all"}


def test_a_champion_that_reads_a_column_of_old_is_not_mended(changed):
    _, train, champion = changed
    lacking = train.drop(columns="seats")
    portfolio = DEMO.model_copy(update={"columns": {k: v for k, v in DEMO.columns.items() if k != "seats"}})
    assert {one.name for one in tried(portfolio, lacking, champion, OLD)} == {"weighted", "all"}


def test_one_outcome_among_the_new_rows_mends_nothing(changed):
    _, train, champion = changed
    train = train.assign(churned=train["churned"].where(train["_row"] <= OLD, 0.0))
    assert {one.name for one in tried(DEMO, train, champion, OLD, OLD + 1)} == {"all"}


def test_few_rows_are_trained_on_without_a_loss_and_too_few_are_told(changed):
    _, train, _ = changed
    [only] = tried(DEMO, train.head(12))
    assert (only.name, only.loss, only.scored) == ("all", None, 0)
    with pytest.raises(model.TooFew, match=r"9 clients with an outcome .* at least 10"):
        tried(DEMO, train.head(9))
    with pytest.raises(model.TooFew, match="0 clients with an outcome"):
        tried(DEMO, train.head(0))
