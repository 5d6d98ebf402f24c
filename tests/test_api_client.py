"""The API may be up, down, slow, or killed in the middle of an answer; the client says which, and never raises."""

import json
import socket
import threading
from contextlib import contextmanager

import pytest

from attrition.api_client import ask, ask_all
from attrition.reporting import answers

BODY = json.dumps({"run": "20260301T031500Z-0001", "model": {"version": "0001"}}).encode()


@contextmanager
def server(*replies):
    """A server that gives each connection the next of ``replies`` as it is and closes; None: it never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        held = []

        def serve():
            for reply in replies:
                connection, _ = listening.accept()
                connection.recv(65536)
                if reply is None:
                    held.append(connection)
                else:
                    connection.sendall(reply)
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()
        for connection in held:
            connection.close()


def reply(body, status="200 OK", length=None):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), length or len(body), body)


def test_an_answer_is_read_with_the_run_it_speaks_of():
    with server(reply(BODY)) as url:
        found = ask(url, "/scoring", seconds=5)
    assert (found.endpoint, found.status, found.run, found.problem) == (
        "GET /scoring",
        200,
        "20260301T031500Z-0001",
        None,
    )


@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [
        (reply(b'{"title": "x"}', "422 Unprocessable Content"), 422, "Unprocessable"),
        (reply(b"<html>"), 200, "not JSON"),
        (reply(BODY, length=500), None, "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None, ""),
        (b"SSH-2.0-OpenSSH", None, ""),
        (b"", None, ""),
    ],
)
def test_what_is_no_good_answer_is_told(sent, status, word):
    with server(sent) as url:
        found = ask(url, "/scoring", seconds=5)
    assert found.status == status
    assert found.problem
    assert word in found.problem


def test_a_server_that_never_answers_is_not_waited_for():
    with server(None) as url:
        found = ask_all(url, "demo", [{"a": 1}], seconds=0.2)
    assert [answer.status for answer in found] == [None] * 4
    assert "within 0.2 s" in found[0].problem or "timed out" in found[0].problem


def test_a_server_that_drips_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def drip():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not over.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        found = ask(f"http://127.0.0.1:{listening.getsockname()[1]}", "/scoring", seconds=0.3)
        over.set()
        thread.join()
    assert (found.status, found.problem) == (None, "no whole answer within 0.3 s")


def test_an_api_killed_in_the_middle_leaves_the_rest_unasked():
    with server(reply(BODY), b"") as url:
        found = answers(ask_all(url, "demo", [{"a": 1}]), "20260301T033000Z-0002")
    assert [each["status"] for each in found] == [200, "unreachable", "unreachable", "unreachable"]
    assert found[0]["speaks_of"] == "previous run 20260301T031500Z-0001"
    assert [each["endpoint"] for each in found] == [
        "POST /prediction",
        "GET /scoring",
        "GET /summarystats",
        "GET /diagnostics",
    ]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/"])
def test_only_http_is_asked(url):
    assert "no scheme of an API" in ask(url, "/scoring", seconds=1).problem


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch):
    with server(reply(BODY)) as url:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert ask(url, "/scoring", seconds=5).status == 200


def test_the_token_goes_to_no_other_place(monkeypatch):
    monkeypatch.setenv("ATTRITION_TOKEN", "0123456789abcdef")
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        moved = f"302 Found\r\nLocation: http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        with server(reply(b"{}", moved)) as url:
            assert ask(url, "/scoring", seconds=5).status == 302
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def test_rows_that_json_has_no_form_for_are_the_callers_error():
    with pytest.raises(TypeError):
        ask("http://127.0.0.1:9", "/prediction", seconds=5, body=[{"a": {1, 2}}])
