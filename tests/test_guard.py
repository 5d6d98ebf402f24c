import itertools

import api_kit
import homes
import pytest

import api
from attrition import secret
from attrition.body import Refused
from attrition.guard import Guard
from attrition.home import UsageError

TOKEN = "0123456789abcdef0123456789abcdef"


def status(guard, host="localhost", path="/clients", authorization=""):
    try:
        guard.admit(host, path, authorization)
    except Refused as refused:
        return refused.status
    return 200


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:1", "[::1]:8000", "risk.example", "Risk.Example:8000"])
def test_the_names_of_this_machine_and_the_list_are_answered_to(host):
    assert status(Guard(frozenset({"risk.example"})), host) == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "risk.example.evil", "xrisk.example", "risk.example:x", "127.0.0.1."]
)
def test_no_other_name_is(host):
    assert status(Guard(frozenset({"risk.example"})), host) == 403


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
def test_without_the_token_nothing_is_told(given):
    assert status(Guard(token=TOKEN), authorization=given) == 401
    assert status(Guard(token=TOKEN), path="/livez", authorization=given) == 200


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}"])
def test_with_it_all_is(given):
    assert status(Guard(token=TOKEN), authorization=given) == 200


def test_every_route_wants_the_token_but_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTRITION_TOKEN", TOKEN)
    client = api_kit.app(homes.make(tmp_path)).test_client()
    for path in api_kit.PAGES:
        response = client.get(path)
        assert response.status_code == (200 if path == "/livez" else 401)
        assert path == "/livez" or response.headers["WWW-Authenticate"] == "Bearer"
        assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("token", ["short", "é" * 40])
def test_a_token_that_is_none_starts_nothing(monkeypatch, capsys, token):
    monkeypatch.setenv("ATTRITION_TOKEN", token)
    with pytest.raises(SystemExit):
        api.main(["--host", "0.0.0.0"])
    assert token not in capsys.readouterr().err


def test_a_secret_comes_from_the_environment_or_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("ATTRITION_TOKEN", raising=False)
    assert secret.read("ATTRITION_TOKEN") is None
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    monkeypatch.setenv("ATTRITION_TOKEN_FILE", str(file))
    for mode, (group, others) in itertools.product((0o600, 0o400), ((0, 0), (0o40, 0), (0, 0o4), (0o20, 0))):
        file.chmod(mode | group | others)
        if group or others:
            with pytest.raises(UsageError, match="chmod 600"):
                secret.read("ATTRITION_TOKEN")
        else:
            assert secret.read("ATTRITION_TOKEN") == TOKEN
    file.chmod(0o600)
    file.write_text(" \n")
    with pytest.raises(UsageError, match="empty"):
        secret.read("ATTRITION_TOKEN")
    monkeypatch.setenv("ATTRITION_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="cannot be read"):
        secret.read("ATTRITION_TOKEN")
    monkeypatch.setenv("ATTRITION_TOKEN", "other")
    assert secret.read("ATTRITION_TOKEN") == "other"
