"""What each page says, and what it says first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages_examples import (
    CALLS,
    DEPLOYMENTS,
    KINDS,
    POINTS,
    RUN,
    STATE,
    compare,
    json_of,
    line,
    model,
    point,
    portfolio,
    run,
    runs,
)
from pages_kit import Reader

from attrition import pages
from attrition.pages import Urls


def words(page: pages.Page) -> str:
    return Reader(page.html()).words


def in_order(html: str, *texts: str) -> None:
    places = [html.index(text) for text in texts]
    assert places == sorted(places), [*zip(texts, places, strict=True)]


# ---- a run


def test_a_failed_run_begins_with_the_cell_that_failed() -> None:
    html = run().html()
    in_order(
        *(html, "The stage train failed in cell 7", "ValueError: one class", "Wait.", 'href="30_train.html#failed"'),
        *("fit()", "Traceback", "<h1>Run 7</h1>", "rolled back</span>", "0001 serves again.", "Champion 0001 and"),
        *(
            "How good the risks were",
            "What changed about the clients",
            "What came in",
            ">Stages<",
            ">Parameters<",
            "run.json</a>",
        ),
    )


def test_a_run_says_which_drop_could_not_be_kept() -> None:
    said = "Replaced or taken away by its owner while it was read: a.csv, b.csv."
    assert said in words(run(not_kept=["a.csv", "b.csv"]))
    assert "by its owner" not in words(run())


def test_a_run_whose_clock_was_set_back_does_not_say_how_long_it_took() -> None:
    assert "took" in run().html()
    assert "took" not in run(finished_at="2016-03-01T03:15:00Z").html()


def test_a_run_says_first_what_was_decided() -> None:
    html = run(status="completed", error=None).html()
    in_order(html, "<h1>", "took 1 min 15 s", "rolled back</span>", "0001 serves again.", "It did better.", "1,500")
    assert "What failed" not in html


def test_a_run_tells_champion_from_challenger_in_words() -> None:
    text = words(run())
    assert "error (Brier) 0.171 (0.151 to 0.191) 0.120 (0.100 to 0.140) better" in text
    assert "AUC 0.800 (0.780 to 0.820) 0.801 (0.781 to 0.821) better, but the intervals overlap" in text
    assert "stayed 250 42 left 60 60" in text


def test_features_stand_then_beside_now_worst_first() -> None:
    text = words(run())
    assert "support tickets differs 1.5 6.2 missing 10% they rose" in text
    assert "plan Basic 60% Team 40% Basic 50% Team 50%" in text


def test_quarantined_files_come_first_with_their_reason() -> None:
    assert "bad.csv 20 0 12 8 8 quarantined: months below 0 a note good.csv 500 500 0 0" in words(run())


def test_parameters_that_differ_from_the_default_come_first() -> None:
    text = words(run())
    in_order(text, "rules.alpha 0.2 none", "delimiter ; ,", "All parameters", "hold_out 0.1 0.1")


@pytest.mark.parametrize(
    "left", [{}, {"run": RUN, "stages": None, "rows": [], "model": "x", "error": "x", "params": 3}, {"stages": ["x"]}]
)
def test_a_run_that_left_next_to_nothing_has_a_page(left: dict[str, object]) -> None:
    assert "no decision" in words(pages.run(left, title="t"))


def test_a_failed_run_without_an_error_names_the_stage() -> None:
    assert "The stage train failed" in words(run(error=None))


# ---- side by side


def test_only_what_differs_is_compared_signed_and_in_words() -> None:
    text = words(compare())
    assert "Run 6 beside Run 7" in text
    assert "error (Brier) 0.120 (0.100 to 0.140) 0.171 (0.151 to 0.191) +0.051 worse" in text
    assert "AUC 0.801 (0.781 to 0.821) 0.800 (0.780 to 0.820) −0.001 worse, but the intervals overlap" in text
    assert "hold_out – 0.1" in text
    assert "log loss" not in text


def test_a_page_beside_itself_has_no_difference() -> None:
    twin = json_of(run())
    page = pages.compare(twin, twin, title="t", hrefs=("a.html", "b.html"), file="compare.html")
    assert "Nothing differs." in words(page)
    assert page.context.same == len(twin["facts"])


def test_models_are_compared_as_runs_are() -> None:
    one, other = json_of(model()), json_of(model())
    other["facts"][0]["value"] = 5
    page = pages.compare(one, other, title="t", hrefs=("0001.html", "0002.html"), file="0002-compare.html")
    assert "data version 2 5 +3" in words(page)


# ---- a portfolio


def test_the_home_answers_the_manager_the_officer_and_then_shows_the_runs() -> None:
    html = portfolio().html()
    in_order(
        *(html, "Who is at risk", "Call these first", "c-1", "Why the model changed"),
        *(
            "Clients have changed since March.",
            "Error of the model that served",
            "Evidence that",
            ">Runs<",
            "Then quiet since",
        ),
    )


def test_bands_are_compared_with_the_last_assessment_a_week_ago() -> None:
    page = portfolio()
    assert [(band.clients, band.change) for band in page.context.bands] == [(84, 1), (200, 0), (600, 0)]
    assert page.context.compared == "2026-11-16T01:30:00Z"
    assert portfolio(points=POINTS[-1:]).context.compared is None


@pytest.mark.parametrize(
    ("changes", "health"),
    [
        ({"lines": [line(status="failed")]}, "needs a person"),
        ({"lines": [line(8, manual=True, decision=None), line(status="failed")]}, "needs a person"),
        ({"lines": [line(8, manual=True, decision="rolled_back"), line(status="failed")]}, "needs a person"),
        (
            {
                "lines": [line(8, manual=True, decision="kept"), line(status="failed")],
                "state": {**STATE, "challenger": None},
            },
            "healthy",
        ),
        ({"lines": [line(8, manual=True, decision=None), line(status="interrupted")]}, "cut short"),
        ({"state": {**STATE, "champion": None}}, "no model yet"),
        ({"state": {**STATE, "decided": line(decision="harmed")}}, "worse than promised"),
        ({"points": [point(5, "2026-11-24T00:00:00Z", champion="0002", alarm=True)]}, "no longer holds"),
        ({}, "watched"),
        (
            {"state": {**STATE, "challenger": None}, "deployments": [{**DEPLOYMENTS[0], "proven": False}]},
            "not proven yet",
        ),
        ({"state": {**STATE, "challenger": None}}, "healthy"),
    ],
)
def test_what_wants_a_person_is_said_first(changes: dict[str, object], health: str) -> None:
    assert portfolio(**changes).context.health == health


def test_promotions_and_changes_are_marked() -> None:
    marks = [mark.words for mark in portfolio().context.charts[0].marks]
    assert marks == [
        "2026-11-01: model 0001 promoted",
        "2026-11-08: clients changed about here, as run 3 found",
        "2026-11-23: model 0002 promoted",
    ]


def test_a_portfolio_without_runs_says_what_to_do() -> None:
    page = pages.portfolio("telco", "T", state={}, lines=[], points=[], calls={}, deployments=[], pages=1)
    assert "python runner.py tick telco" in words(page)
    assert "no model yet" in words(page)


# ---- lists


@given(st.integers(1, 60), st.booleans())
def test_a_page_names_its_neighbours_and_nothing_that_others_could_change(number: int, more: bool) -> None:
    page = runs(page=number, more=more)
    assert page.context.older == (f"runs-{number - 1}.html" if number > 1 else "")
    assert page.context.newer == (f"runs-{number + 1}.html" if more else "")


def test_a_page_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no page 0"):
        runs(page=0)


@pytest.mark.parametrize("name", ["", ".", "..", None])
def test_a_run_without_a_name_for_a_folder_has_no_link(name: object) -> None:
    assert Urls().run(name) == ""


def test_portfolios_that_want_a_person_come_first() -> None:
    cards = [{"name": "a", "tone": "good"}, {"name": "b", "tone": "bad"}, {"name": "c"}, {"name": "d", "tone": "warn"}]
    assert [each.name for each in pages.home(cards).context.portfolios] == ["b", "d", "a", "c"]
    assert "No portfolio yet" in words(pages.home([]))


def test_a_home_tells_the_risk_of_those_who_can_be_called() -> None:
    """A client who left stays in its band: 1,080 at high risk are no 1,080 calls."""
    text = words(portfolio())
    everybody = next(each for each in CALLS["lists"] if each["kind"] == "everybody")
    high = next((each for each in CALLS["lists"] if (each["kind"], each["name"]) == ("band", "high")), None)
    assert f"{everybody['clients'] - everybody['callable']} have left or are held out: not to call." in text
    assert high is None or f"{high['callable']} to call" in text


def test_a_home_after_a_failure_leads_to_what_failed() -> None:
    failed = line(status="failed")
    page = portfolio(lines=[failed, line(6)])
    assert f'<a href="{failed["run"]}/index.html">What failed, and what to do</a>' in page.html()
    assert "What failed" not in portfolio().html()


def test_a_reason_is_not_told_twice() -> None:
    """The last decision in full stands among the deployments, where it deployed."""
    said = {"decision": "promoted", "reason": "It is better. The proof is long.", "run": RUN, "started_at": None}
    told = portfolio(
        state={**STATE, "decided": said}, deployments=[{**DEPLOYMENTS[0], "run": RUN, "why": said["reason"]}]
    )
    assert words(told).count("The proof is long.") == 1
    other = portfolio(state={**STATE, "decided": said}, deployments=[])
    assert words(other).count("The proof is long.") == 1


# ---- a model, clients


def test_a_model_says_when_it_served_and_why_not_any_more() -> None:
    text = words(model())
    in_order(text, "retired", "model 0001 with every coefficient corrected", "0003 is better.", "When it served")
    assert "2026-11-01 10:00 UTC to 2026-11-20 10:00 UTC rolled back not proven yet ann rolled back" in text
    assert "account manager: Ann 40 30% 50% 0.300" in text


def test_a_list_says_what_calling_is_worth_and_why_each() -> None:
    text = words(KINDS["clients"]())
    assert "Calling the first 120 is expected to bring 5,120 EUR" in text
    assert "c-1 as of 2026-11-22 Bo 91% high – 61.50 EUR tickets 9, usual 2: odds of leaving × 4.1" in text
    assert "odds of leaving ×\u00a04.1" in KINDS["clients"]().html(), "a factor stays on one line"
    assert "The first 2 of 3 clients who can be called (1 more have left or are held out)." in text


def test_a_search_marks_who_is_not_to_be_called() -> None:
    text = words(KINDS["searched"]())
    assert "c-2 has left" in text
    assert "+12 points" in text or "+13 points" in text


def test_an_owner_of_any_name_has_a_list_of_a_harmless_name() -> None:
    assert Urls().clients("value", "owner", "../../etc") != Urls().clients("value", "owner", "x")
    assert Urls().clients("value", "owner", "\ud800<").startswith("clients/by-")
