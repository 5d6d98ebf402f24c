import json
import os
import resource
import threading
import time

import homes
import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rights import closed
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from attrition import params, registry, serving
from attrition.home import Home
from attrition.schema import Identity
from attrition.served import Served
from attrition.serving import Refused, Server

JSON = "application/json"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One home for the tests that change nothing in it."""
    return homes.make(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def served(shared):
    return Server(shared, pause=0).portfolio()


@pytest.fixture(scope="module")
def pipeline(shared):
    return registry.load(shared.place("shop").models / "0001")[0]


def ask(served, rows, explain=0):
    """The answer as it is sent."""
    return json.loads(msgspec.json.encode(served.answer(json.dumps(rows).encode(), JSON, explain)[0]))


def probabilities(served, data, media_type):
    said = served.answer(data, media_type)[0].predictions
    return [each.probability for each in said] if isinstance(said, list) else said.probability


@pytest.fixture
def home(tmp_path):
    return homes.make(tmp_path)


@pytest.fixture
def server(home):
    return Server(home, pause=0)


@pytest.fixture
def place(home):
    return home.place("shop")


def status(server, asked=None):
    with pytest.raises(Refused) as caught:
        server.portfolio(asked)
    return caught.value.status


def version(server):
    return server.portfolio().manifest.version


RECORDS = st.fixed_dictionaries(
    {
        "usage": st.floats(0, 1000),
        "tenure": st.integers(0, 10**6),
        "vip": st.booleans(),
        "plan": st.sampled_from(["basic", "plus"]),
        "region": st.sampled_from(["north", "south", "elsewhere", None]),
        "balance": st.none() | st.floats(-1e9, 1e9),
    }
)


@settings(max_examples=50)
@given(st.lists(RECORDS, min_size=1, max_size=5))
def test_json_columns_and_csv_agree_with_scikit_learn(served, pipeline, records):
    table = pd.DataFrame(records, columns=served.manifest.features).astype({"region": object, "plan": object})
    table["region"] = table["region"].where(table["region"].notna(), None)
    numbers = ["usage", "tenure", "vip", "balance"]
    expected = pipeline.predict_proba(table.astype(dict.fromkeys(numbers, "float64")))[:, 1]
    lines = [",".join("" if record[name] is None else str(record[name]) for name in table) for record in records]
    text = "\n".join([",".join(table), *lines])
    columns = {name: [record[name] for record in records] for name in records[0]}
    assert served.folded
    for data, media_type in ((json.dumps(records), JSON), (json.dumps(columns), JSON), (text, "text/csv")):
        found = probabilities(served, data.encode(), media_type)
        assert np.abs(np.array(found) - expected).max() <= 1e-12


def test_an_answer_says_whose_it_is(served):
    answer = ask(served, [homes.RECORD, {**homes.RECORD, "client": None}])
    manifest = served.manifest
    assert answer["model"] == {"version": "0001", "sha256": manifest.sha256}
    assert (answer["portfolio"], answer["run"], answer["threshold"]) == ("shop", manifest.run, 0.5)
    first, second = answer["predictions"]
    assert first == {"id": "c-1", **second}
    assert second.keys() == {"probability", "decision", "band"}


@pytest.mark.parametrize("rule", [{"threshold": 0.2}, {"threshold": 0.9}, {"bands": {"medium": 0.1, "high": 0.2}}])
def test_decision_and_band_follow_the_portfolio(home, server, place, rule):
    place.params.write_text(yaml.safe_dump({**homes.GIVEN, **rule}))
    shop = params.load(place.params)
    rows = [{**homes.RECORD, "usage": usage} for usage in range(0, 1000, 50)]
    predictions = ask(server.portfolio(), rows)["predictions"]
    assert len({prediction["band"] for prediction in predictions}) > 1
    for said in predictions:
        assert said["decision"] == (said["probability"] >= shop.threshold)
        floor = {"low": 0, "medium": shop.bands.medium, "high": shop.bands.high}[said["band"]]
        ceiling = {"low": shop.bands.medium, "medium": shop.bands.high, "high": 1}[said["band"]]
        assert floor <= said["probability"] <= ceiling


def test_a_new_version_is_served_and_an_old_answer_stays_whole(server, place):
    before = server.portfolio()
    manifest = homes.deploy(place, "0002", seed=1)
    after = server.portfolio()
    assert after.identity == Identity("0002", manifest.sha256)
    assert ask(before, [homes.RECORD])["model"]["version"] == "0001"
    assert ask(after, [homes.RECORD])["predictions"] != ask(before, [homes.RECORD])["predictions"]


def test_the_same_object_serves_while_nothing_changes(server):
    assert server.portfolio() is server.portfolio("shop")


def test_a_version_that_came_is_loaded_once(server, place):
    server.portfolio()
    homes.deploy(place, "0002", seed=1)
    assert server.portfolio() is server.portfolio()


@pytest.mark.parametrize("name", ["model.pkl", "manifest.json"])
def test_what_serves_goes_on_without_its_files_and_it_is_told_until_they_are_back(server, place, name):
    """Whoever starts the API anew has none."""
    before, path = server.portfolio(), place.models / "0001" / name
    aside = path.rename(place.models / "aside")
    served, trouble = server.look()
    assert served is before
    assert trouble.startswith("model refused: it cannot be read")
    assert trouble.endswith("model 0001 goes on serving")
    aside.rename(path)
    assert (version(server), server.look()[1]) == ("0001", None)
    path.write_bytes(b"spoilt")
    served, trouble = server.look()
    assert (served.identity, trouble[:13]) == (before.identity, "model refused")


def test_within_the_pause_no_file_is_looked_at(home, place):
    server = Server(home, pause=3600)
    server.portfolio()
    homes.deploy(place, "0002", seed=1)
    assert version(server) == "0001"


def spoil_pickle(place):
    (place.models / "0002" / "model.pkl").write_bytes(b"spoilt")


def spoil_manifest(place):
    (place.models / "0002" / "manifest.json").unlink()


def spoil_current(place):
    place.current.write_text("{")


def other_sha256(place):
    found = registry.current(place.models)
    place.current.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, sha256="0" * 64)))


def other_portfolio(place):
    path = place.models / "0002" / "manifest.json"
    path.write_text(path.read_text().replace('"portfolio": "shop"', '"portfolio": "spoof"'))


def other_pipeline(place):
    fitted = Pipeline([("scale", StandardScaler()), ("classifier", LogisticRegression())])
    fitted.fit(homes.clients()[["usage", "tenure"]], homes.clients()["left"])
    manifest = registry.write(place.models / "0002", fitted, **homes.facts("0002", features=["usage", "tenure"]))
    now = msgspec.structs.replace(registry.current(place.models), sha256=manifest.sha256)
    place.current.write_bytes(msgspec.json.encode(now))


@pytest.mark.parametrize(
    "spoil", [other_pipeline, spoil_pickle, spoil_manifest, spoil_current, other_sha256, other_portfolio]
)
def test_a_bad_candidate_leaves_the_old_one_serving(server, place, spoil):
    assert version(server) == "0001"
    homes.deploy(place, "0002", seed=1)
    spoil(place)
    served, trouble = server.look()
    assert served.manifest.version == "0001"
    assert trouble.startswith("model refused: ")
    assert trouble.endswith("; model 0001 goes on serving")
    assert str(place.root) not in trouble
    homes.deploy(place, "0003", seed=2)
    served, trouble = server.look()
    assert (served.manifest.version, trouble) == ("0003", None)


def test_without_an_old_one_a_bad_candidate_gives_503(server, place):
    (place.models / "0001" / "model.pkl").write_bytes(b"spoilt")
    assert status(server) == 503
    assert "bytes" in server.loaded["shop"][1]
    assert "goes on serving" not in server.loaded["shop"][1]


def test_a_refused_model_that_was_restored_is_tried_again(server, place, monkeypatch):
    path = place.models / "0001" / "model.pkl"
    good = path.read_bytes()
    path.write_bytes(b"spoilt")
    assert status(server) == 503
    path.write_bytes(good)
    assert status(server) == 503, "not at once: that would read a bad file with every request"
    monkeypatch.setattr(serving, "RETRY", 0)
    assert version(server) == "0001"


def test_before_the_first_model_there_is_503_and_no_trouble(server, place):
    place.current.unlink()
    assert status(server) == 503
    assert server.look() == (None, None)
    assert server.loaded == {"shop": (None, None)}


def test_when_current_is_gone_the_model_stays_and_it_is_told(server, place):
    server.portfolio()
    place.current.unlink()
    served, trouble = server.look()
    assert served.manifest.version == "0001"
    assert "current.json is gone" in trouble


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("title: [", "shop.yaml cannot be used"),
        (yaml.safe_dump({**homes.GIVEN, "show": ["usage"]}), "features are not the portfolio's"),
        (yaml.safe_dump({**homes.GIVEN, "columns": {**homes.COLUMNS, "usage": {"type": "category"}}}), "features"),
    ],
)
def test_a_yaml_that_no_longer_fits_leaves_the_old_serving(server, place, text, trouble):
    before = server.portfolio()
    place.params.write_text(text)
    served, told = server.look()
    assert served is before
    assert trouble in told


def test_what_one_may_not_read_is_named_and_leaves_the_old_serving(server, place):
    before = server.portfolio()
    with closed(place.models):
        served, trouble = server.look()
        assert served is before
        why = "models/shop/current.json cannot be read (Permission denied); mend its permissions or the disk"
        assert trouble == f"{why}; model 0001 goes on serving"
    assert server.look()[1] is None


def test_a_key_that_others_may_read_is_told_as_that(home, server, place, tmp_path, monkeypatch):
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    key.chmod(0o600)
    monkeypatch.delenv("ATTRITION_MODEL_KEY", raising=False)
    monkeypatch.setenv("ATTRITION_MODEL_KEY_FILE", str(key))
    homes.deploy(place)
    before = server.portfolio()
    homes.deploy(place, "0002")
    key.chmod(0o640)
    served, trouble = server.look()
    assert served is before
    assert "ATTRITION_MODEL_KEY_FILE: others may read the file; chmod 600 it" in trouble
    assert "train anew" not in trouble
    with pytest.raises(Refused, match="chmod 600") as caught:
        Server(home, pause=0).portfolio()
    assert caught.value.status == 503
    key.chmod(0o600)
    monkeypatch.setattr(serving, "RETRY", 0)
    assert (version(server), server.look()[1]) == ("0002", None)


def test_what_served_goes_on_serving_where_nobody_can_say_what_there_is(home, server, place):
    with closed(home.root / "params"):
        assert status(server) == status(server, "shop") == 503
    before = server.portfolio()
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closed(home.root / "params"):
        assert server.portfolio() is server.portfolio("shop") is before
        assert server.names() == ["shop"]
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, descriptors[1]))
    try:
        assert server.portfolio() is before, "without a descriptor left"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)
    place.params.with_name("other.yaml").write_text("title: x")
    assert status(server) == 400
    with closed(home.root / "params"):
        assert status(server) == 503, "which of the two was never said"


def test_a_portfolio_must_be_named_where_there_are_several(server, place):
    place.params.with_name("other.yaml").write_text("title: x")
    assert status(server) == 400
    assert server.portfolio("shop").portfolio.name == "shop"


@pytest.mark.parametrize("asked", ["", "none", "../shop", "SHOP", "x" * 500, "shop\n", "shop/../shop"])
def test_an_unknown_portfolio_is_404_and_hardly_repeated(server, asked):
    with pytest.raises(Refused) as caught:
        server.portfolio(asked)
    assert caught.value.status == 404
    assert len(caught.value.detail) < 80


def test_an_empty_home_is_told(tmp_path):
    assert status(Server(Home(tmp_path))) == 400


def test_many_threads_get_whole_answers_through_swaps(server, place):
    expected = [ask(Served.load(place), [homes.RECORD])]
    answers, over = [], threading.Event()

    def keep_asking():
        while not over.is_set():
            answers.append(ask(server.portfolio(), [homes.RECORD]))

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 8):
        name = f"{number:04d}"
        homes.deploy(place, name, seed=number)
        expected.append(ask(Served.load(place), [homes.RECORD]))
    over.set()
    for thread in threads:
        thread.join()
    assert answers
    assert all(answer in expected for answer in answers)


def test_the_first_requests_wait_for_the_model(server):
    together = threading.Barrier(4)
    found = []

    def ask():
        together.wait()
        found.append(server.portfolio())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(each is found[0] for each in found)


def test_watched_a_swap_needs_no_request(home, place):
    server = Server(home, pause=0.02)
    assert server.held() is None, "nobody looks at the files yet"
    server.watch()
    server.portfolio()
    homes.deploy(place, "0002", seed=1)
    end = time.monotonic() + 30
    while server.loaded["shop"][0].manifest.version != "0002":
        assert time.monotonic() < end
    (place.models / "0003").mkdir()
    place.current.write_text("{")
    while not server.loaded["shop"][1]:
        assert time.monotonic() < end
    assert server.loaded["shop"][0].manifest.version == "0002"


def test_watched_no_request_after_the_first_looks_at_a_file(home, place):
    server = Server(home, pause=3600)
    server.watch()
    served = server.portfolio()
    for _ in range(2):
        server._look_again()
        assert server.held() is served
    assert server.portfolio("shop") is served
    place.params.with_name("other.yaml").write_text("title: x")
    server._look_again()
    assert (server.held(), server.held("shop")) == (None, served)
    server.portfolio("shop"), server.look("other")
    place.params.unlink()
    server._look_again()
    assert server.held("shop") is None
    server._meant[None] = "shop"
    server._look_again()
    assert server.held() is None, "it is the other one now"


def test_it_is_told_where_a_look_at_the_files_does_not_come_back(home, place, monkeypatch):
    """As of a disk that hangs: what is promoted or rolled back nobody sees, and the API said that all was well."""
    asked, goes_on = threading.Event(), threading.Event()
    served = Server(home, pause=0)
    before = version(served)
    monkeypatch.setattr(serving, "STALLED", 0.0)
    monkeypatch.setattr(serving, "_loaded", lambda _place, before: (asked.set(), goes_on.wait(), (before, None))[2])
    os.utime(place.current)
    look = threading.Thread(target=served.look, args=(place.name,))
    look.start()
    assert asked.wait(30)
    assert "has not answered for 0 s" in served.look()[1]
    assert version(served) == before
    goes_on.set()
    look.join(30)
    assert served.look()[1] is None


@pytest.mark.parametrize("which", ["current.json", "model.pkl"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(server, place, which):
    """With one nothing was ever looked at again."""
    before = version(server)
    path = place.current if which == "current.json" else place.version_files(before)[0]
    path.unlink()
    os.mkfifo(path)
    assert "it is no file" in server.look()[1]


def test_watched_a_portfolio_that_came_is_noticed(home, place):
    server = Server(home, pause=0.02)
    server.watch()
    assert server.portfolio().portfolio.name == "shop"
    place.params.with_name("other.yaml").write_text("title: x")
    end = time.monotonic() + 30
    while server.held() is not None:
        assert time.monotonic() < end
    assert status(server) == 400


@pytest.mark.parametrize("explain", [1, 3])
def test_reasons_are_told_where_they_are_asked_for(served, explain):
    told = ask(served, [homes.RECORD, {**homes.RECORD, "usage": 900, "vip": False}], explain)["predictions"]
    assert all(1 <= len(each["reasons"]) <= explain for each in told)
    assert "usage 900" in " ".join(told[1]["reasons"])
    assert "reasons" not in ask(served, [homes.RECORD])["predictions"][0]


def test_columns_are_answered_as_columns(served):
    rows = [homes.RECORD, {**homes.RECORD, "client": "c-2", "usage": 900}]
    told = ask(served, {name: [row[name] for row in rows] for name in rows[0]}, 2)["predictions"]
    each = ask(served, rows, 2)["predictions"]
    assert told == {name: [one[name] for one in each] for name in each[0]}
