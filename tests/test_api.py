import io
import json

import api_kit
import homes
import numpy as np
import pytest
import yaml
from api_kit import PAGES, RECORDED, RUN, problem

import api
from attrition import registry
from attrition.answers import CONTENT_POLICY
from attrition.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for the tests that change nothing in it."""
    return homes.make(tmp_path_factory.mktemp("home"))


@pytest.fixture
def app(home):
    return api_kit.app(home)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def own(tmp_path):
    """A home of the test's own, and a client that looks at it."""
    home = homes.make(tmp_path)
    return home.place("shop"), api_kit.app(home).test_client()


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers(client, path):
    response = client.get(path)
    assert response.status_code == 200
    assert response.data
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == CONTENT_POLICY
    assert client.get(f"{path}?portfolio=shop").status_code == 200


@pytest.mark.parametrize("path", RECORDED[:-1])
def test_answers_name_run_and_model(client, path):
    found = client.get(path).get_json()
    entries = found["runs"] if path == "/runs" else [found]
    assert entries
    for entry in entries:
        assert entry["run"] in (homes.FIRST, homes.LAST)
        assert "model" in entry


def test_one_record_gets_one_prediction(client, home):
    found = client.post("/prediction", json=homes.RECORD).get_json()
    pipeline, manifest = registry.load(home.place("shop").models / "0001")
    frame = registry.frame([homes.RECORD], manifest).astype(dict.fromkeys(["usage", "tenure", "vip", "balance"], float))
    assert abs(found["predictions"][0]["probability"] - pipeline.predict_proba(frame)[0, 1]) <= 1e-12
    assert found["predictions"][0]["id"] == "c-1"
    assert found["model"] == {"version": "0001", "sha256": manifest.sha256}
    assert (found["portfolio"], found["run"], found["threshold"]) == ("shop", manifest.run, 0.5)


def test_json_and_csv_get_the_same_answer(client):
    table = homes.clients(rows=200, seed=3).drop(columns="left").astype({"vip": bool, "tenure": int}).astype(object)
    records = table.where(table.notna(), None).to_dict(orient="records")
    sent = client.post("/prediction", json=records)
    text = table.to_csv(index=False)
    posted = client.post("/prediction", data=text, content_type="text/csv; charset=utf-8")
    assert sent.get_json() == posted.get_json()
    probabilities = np.array([each["probability"] for each in sent.get_json()["predictions"]])
    assert len(probabilities) == 200
    assert probabilities.min() < 0.2 < 0.8 < probabilities.max()


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"usage": NaN}', "application/json", 422),
        (b"usage\n\xff", "text/csv", 400),
        (b"{}", "text/plain", 415),
        (b"{}", None, 415),
        (b"x" * (10 * 1024 * 1024 + 1), "application/json", 413),
        (b"[" + b"1," * 10_000 + b"1]", "application/json", 413),
    ],
)
def test_a_body_that_cannot_be_used_is_a_problem(client, data, content_type, status):
    problem(client.post("/prediction", data=data, content_type=content_type), status)


def test_bad_rows_are_all_named_without_their_values(client):
    rows = [homes.RECORD, {**homes.RECORD, "usage": "secret-9"}, {**homes.RECORD, "left": "secret-9"}]
    response = client.post("/prediction", json=rows)
    assert problem(response, 422)["errors"] == [
        {"row": 1, "field": "usage", "problem": "expected a number from 0 to 1000"},
        {"row": 2, "field": "left", "problem": "unknown column"},
    ]
    assert b"secret-9" not in response.data


def test_scoring_speaks_of_the_deployed_model(own):
    place, client = own
    found = client.get("/scoring").get_json()
    assert (found["f1"], found["metrics"]["auc"], found["run"]) == (0.75, 0.8, homes.FIRST)
    assert found["trial"] == {"run": homes.LAST, "scores": {"0001": {"f1": 0.8}}}
    manifest = homes.deploy(place, "0002", seed=1, metrics={"f1": 0.5})
    found = client.get("/scoring").get_json()
    assert (found["f1"], found["run"], "trial" in found) == (0.5, manifest.run, False)
    assert found["model"] == {"version": "0002", "sha256": manifest.sha256}


def test_recorded_values_are_those_of_the_notebook(client):
    assert client.get("/summarystats").get_json()["summary"] == {"rows": 60}
    found = client.get("/diagnostics").get_json()
    assert (found["missing"], found["timings"], found["dependencies"]) == ({"balance": 0.2}, {}, [])


def test_scoring_speaks_of_the_newest_clients_that_the_model_was_judged_on(own):
    place, client = own
    path = place.executed / homes.LAST / "run.json"
    judged = {"champion_before": "0001", "performance": {"f1": {"value": 0.6}, "n": 26}}
    path.write_text(json.dumps(json.loads(path.read_text()) | judged))
    pointer = place.executed / "latest.json"
    pointer.write_text(json.dumps(json.loads(pointer.read_text()) | {"judged": homes.LAST}))
    found = client.get("/scoring").get_json()
    assert (found["run"], found["f1"], found["metrics"]["n"]) == (homes.LAST, {"value": 0.6}, 26)


def test_a_csv_may_be_uploaded_as_a_file(client):
    line = homes.RECORD
    text = ",".join(line) + "\n" + ",".join(str(value) for value in line.values()) + "\n"
    sent = client.post("/prediction", data={"file": (io.BytesIO(text.encode()), "clients.csv")})
    same = client.post("/prediction", json=homes.RECORD)
    assert sent.get_json()["predictions"] == same.get_json()["predictions"]


def test_of_two_files_none_is_left_out_in_silence(client):
    files = {name: (io.BytesIO(b"usage\n1\n"), f"{name}.csv") for name in ("one", "two")}
    assert "2 files" in problem(client.post("/prediction", data=files), 400)["detail"]


def test_clients_are_ranked_by_risk(client):
    found = client.get("/clients").get_json()
    assert (found["total"], found["limit"], found["offset"]) == (3, 50, 0)
    assert (found["run"], found["model"]) == (homes.LAST, "0001")
    assert [each["id"] for each in found["clients"]] == ["c-3", "c-1", "c-2"]
    first = {"rank": 1, "id": "c-3", "probability": 0.9, "band": "high", "reasons": ["tenure 3"], "since": "2026-01-01"}
    assert found["clients"][0] == first | {"change": None, "change_since": None}


@pytest.mark.parametrize(
    ("query", "total", "ids"),
    [
        ("limit=2", 3, ["c-3", "c-1"]),
        ("limit=2&offset=2", 3, ["c-2"]),
        ("offset=9", 3, []),
        ("limit=0", 3, []),
        ("band=medium", 1, ["c-1"]),
    ],
)
def test_clients_by_page_and_band(client, query, total, ids):
    found = client.get(f"/clients?{query}").get_json()
    assert (found["total"], [each["id"] for each in found["clients"]]) == (total, ids)


@pytest.mark.parametrize(
    "path",
    [
        "/clients?limit=x",
        "/clients?limit=-1",
        "/clients?limit=1001",
        "/clients?offset=1e3",
        "/clients?band=x",
        "/runs?before=x",
        "/runs?bfore=3",
        "/prediction?explian=3",
        "/readyz?frsh=1",
    ],
)
def test_a_wrong_question_is_answered_with_what_is_right(client, path):
    name = path.split("?")[1].split("=")[0]
    asked = client.post(path, json=homes.RECORD) if path.startswith("/prediction") else client.get(path)
    assert problem(asked, 400)["detail"].startswith(f"{name}: ")


def test_runs_come_newest_first_page_by_page(client):
    found = client.get("/runs?limit=1").get_json()
    assert ([run["run"] for run in found["runs"]], found["next"]) == ([homes.LAST], 2)
    assert found["quiet"] == {"since": "2026-01-03T00:00:00Z", "last": "2026-01-03T00:15:00Z", "ticks": 2}
    found = client.get("/runs?limit=1&before=2").get_json()
    assert [run["run"] for run in found["runs"]] == [homes.FIRST]
    assert client.get("/runs?before=1").get_json()["runs"] == []


def test_a_run_tells_its_account_and_files(client):
    found = client.get(RUN).get_json()
    assert found["decision"] == "promoted"
    assert found["files"] == ["40_score.ipynb", "60_diagnose.html", "60_diagnose.ipynb", "run.json"]


@pytest.mark.parametrize("path", ["/summarystats", "/diagnostics", "/clients", RUN])
def test_before_the_first_run_there_is_nothing_to_tell(tmp_path, path):
    place = Home(tmp_path).place("shop")
    place.params.parent.mkdir()
    place.params.write_text(yaml.safe_dump(homes.GIVEN))
    client = api.create_app({"HOME": tmp_path}).test_client()
    assert "run" in problem(client.get(path), 404)["detail"]
    assert client.get("/runs").get_json()["runs"] == []
    assert "attrition_last_tick_age_seconds{" not in client.get("/metrics").text
    for waiting in ("/scoring", "/model", "/readyz"):
        assert "no model is deployed yet" in problem(client.get(waiting), 503)["detail"]


def test_a_refused_model_is_told_while_the_old_one_serves(own):
    place, client = own
    client.get("/model")
    homes.deploy(place, "0002", seed=1)
    (place.models / "0002" / "model.pkl").write_bytes(b"spoilt")
    assert "bytes" in client.get("/model").get_json()["trouble"]
    assert client.get("/readyz").get_json()["portfolios"]["shop"]["model"]["version"] == "0001"
    assert 'attrition_model_trouble{portfolio="shop"} 1' in client.get("/metrics").text


def test_the_model_page_holds_no_rows(client):
    manifest = client.get("/model").get_json()["manifest"]
    assert "golden" not in manifest
    assert manifest["trained_to"] == 60


@pytest.mark.parametrize("path", ["/prediction", "/scoring", "/clients", "/runs", RUN])
def test_an_unknown_portfolio_is_404(client, path):
    method = client.post if path == "/prediction" else client.get
    detail = problem(method(f"{path}?portfolio={'x' * 400}"), 404)["detail"]
    assert "portfolio" in detail
    assert len(detail) < 80


def test_with_several_portfolios_one_is_chosen(own):
    place, client = own
    place.params.with_name("other.yaml").write_text("title: x")
    assert "other, shop" in problem(client.get("/clients"), 400)["detail"]
    assert client.get("/clients?portfolio=shop").status_code == 200
    assert "properties" not in client.get("/openapi.json").get_json()["components"]["schemas"]["Record"]


@pytest.mark.parametrize(
    "arguments",
    [["--host", "0.0.0.0"], ["--host", "192.168.0.1"], ["--host", "::"], ["--host", "evil"], ["--port", "0"]],
)
def test_other_machines_are_refused_at_the_start(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        api.main(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_key_that_others_can_read_starts_nothing(tmp_path, monkeypatch, capsys):
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    key.chmod(0o644)
    monkeypatch.delenv("ATTRITION_MODEL_KEY", raising=False)
    monkeypatch.setenv("ATTRITION_MODEL_KEY_FILE", str(key))
    with pytest.raises(SystemExit):
        api.main(["--host", "0.0.0.0"])
    assert "chmod 600" in capsys.readouterr().err
