"""A run's own page, the runs of a portfolio, the portfolios of a home."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages_kit import (
    PORTFOLIO,
    QUIET,
    RUN,
    STATE,
    Reader,
    report,
    row,
)

from attrition import pages
from attrition.pages import urls

# ---- a run


def test_a_run_says_first_what_was_decided_then_what_failed() -> None:
    html = pages.run(report(), title="Telecom clients")
    order = ["rolled back</span>", "0001 serves again.", "The stage train failed in cell 7.", "ValueError: one class"]
    order += ["Wait.", 'href="30_train.html#failed"', "<h2>Stages</h2>", "<h2>Rows</h2>", "1,520", "run.json</a>"]
    places = [html.index(words) for words in order]
    assert places == sorted(places)
    assert "took 1 min 15 s" in html
    assert f"<title>Run {RUN} · Telecom clients</title>" in html


def test_a_run_lists_its_stages() -> None:
    text = Reader(pages.run(report(), title="t")).words
    assert "ingest completed 1.2 s train failed 1 min 15 s score the run was failed before it skipped –" in text
    assert "rows in 1,520 ingested 1,500 duplicates 12 quarantined 8" in text
    assert "Model 0001 Model SHA-256 9f86d0 Champion before 0001 Challenger 0002 Data version 3" in text


def test_a_run_that_went_well_has_no_alarm() -> None:
    assert "What failed" not in pages.run(report(status="completed", error=None), title="t")


def test_a_failed_run_without_an_error_names_the_stage() -> None:
    assert "The stage train failed.</strong>" in pages.run(report(error=None), title="t")


def test_a_run_that_left_next_to_nothing_has_a_page() -> None:
    for left in ({}, {"run": RUN, "stages": None, "rows": [], "model": "x", "error": "x"}, {"stages": ["x"]}):
        assert "no decision" in Reader(pages.run(left, title="t")).text


# ---- lists


def listed(page: int, pages_: int, rows: list[dict[str, object]] | None = None) -> str:
    rows = [row(quiet=QUIET)] if rows is None else rows
    return pages.runs("telco", "Telecom clients", rows, page=page, pages=pages_, state=STATE)


def test_the_newest_page_says_how_the_portfolio_stands() -> None:
    text = Reader(listed(3, 3)).words
    assert "Model 0002 serves since 2026-11-20 10:00 UTC not proven yet Last decision held It holds." in text
    assert "Model 0003 is on trial" in text
    assert "Then quiet: 9 ticks without work until 2026-11-23 14:45 UTC" in text
    assert "520 rows in · 500 ingested · 12 duplicates · 8 quarantined model 0002 3.2 s" in text


def test_an_older_page_leaves_that_out() -> None:
    html = listed(1, 3)
    assert "serves since" not in html


def test_pages_are_numbered_from_the_oldest() -> None:
    links = [(link["href"], link.get("aria-label")) for link in Reader(listed(9, 9)).all("a") if "aria-label" in link]
    assert links == [("runs-1.html", "Page 1"), ("runs-7.html", "Page 7"), ("runs-8.html", "Page 8")]
    assert '<a href="index.html" aria-label="Page 9">' in listed(2, 9)
    assert '<nav aria-label="Pages' not in listed(1, 1)


@given(st.integers(1, 60).flatmap(lambda pages_: st.tuples(st.integers(1, pages_), st.just(pages_))))
def test_every_page_can_be_reached_from_every_other(numbers: tuple[int, int]) -> None:
    page_, pages_ = numbers
    hrefs = {link["href"] for link in Reader(listed(page_, pages_)).all("a")}
    beside = {urls.runs_page(near, pages_) for near in (page_ - 1, page_ + 1) if 1 <= near <= pages_}
    assert beside <= hrefs
    assert (urls.runs_page(pages_, pages_) in hrefs) is (page_ != pages_)


@pytest.mark.parametrize(("page_", "pages_"), [(0, 3), (4, 3), (2, 0)])
def test_a_page_that_is_not_there_is_refused(page_: int, pages_: int) -> None:
    with pytest.raises(ValueError, match="there is no page"):
        listed(page_, pages_)


def test_a_portfolio_without_runs_says_what_to_do() -> None:
    assert "python runner.py tick telco" in listed(1, 0, rows=[])


def test_runs_by_hand_stand_apart() -> None:
    html = listed(1, 1, rows=[row(manual=True, run="by-hand", report=None), row(run="by-cron")])
    assert html.index(">by-cron<") < html.index("Runs by hand") < html.index(">by-hand<")
    assert 'href="by-hand/index.html"' in html


@pytest.mark.parametrize("name", ["", ".", "..", None])
def test_a_run_without_a_name_for_a_folder_has_no_link(name: object) -> None:
    hrefs = [link["href"] for link in Reader(listed(1, 1, rows=[row(run=name, report="https://x")])).all("a")]
    assert hrefs == ["../index.html"]


def test_the_first_page_lists_the_portfolios() -> None:
    html = pages.home([PORTFOLIO, {"name": "capstone"}])
    assert '<a href="telco/index.html">Telecom clients</a>' in html
    text = Reader(html).words
    assert f"Last decision held Model 0002 Last run {RUN} Up to date as of 2026-11-23 14:45 UTC" in text
    assert "capstone Last decision no decision Model – Last run – Up to date as of –" in text
    assert "No portfolio yet" in pages.home([])
