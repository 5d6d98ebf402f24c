"""What the front makes of bodies that do not come as they should; the real server is in test_server.py."""

import asyncio
from types import SimpleNamespace

import pytest

from attrition import front
from attrition.answers import Answered, Counts
from attrition.front import Front
from attrition.guard import Guard
from attrition.home import Home
from attrition.lane import Lane
from attrition.serving import Server


class Protocol:
    """A connection over which ``pieces`` come, and then nothing more (``ends``: it closes)."""

    def __init__(self, *pieces, ends=True):
        self.pieces, self.ends, self.sent = pieces, ends, None

    async def __aiter__(self):
        for piece in self.pieces:
            yield piece
        if not self.ends:
            await asyncio.Event().wait()

    async def __call__(self):
        return b"".join([piece async for piece in self])

    def response_bytes(self, status, headers, content):
        self.sent = status, dict(headers), content


def scope(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    about = {"method": "POST", "path": "/x", "query_string": "", "scheme": "http", "http_version": "1.1"}
    return SimpleNamespace(headers=named, client="127.0.0.1:5", server="127.0.0.1:8000", **about)


def application(environment, start):
    body = environment["wsgi.input"].read()
    start("200 OK", [("X-Length", environment["CONTENT_LENGTH"])])
    yield body[:5]


def sent(protocol, lane=lambda *_: None, seconds=5.0, counts=None, **headers):
    made = Front(application, lane, counts or Counts(), seconds)
    asyncio.run(made.__rsgi__(scope(**headers), protocol))
    assert made._waiting == 0
    return protocol.sent


def test_a_whole_body_goes_to_the_application():
    status, headers, content = sent(Protocol(b"hel", b"lo you"), content_length="9")
    assert (status, headers, content) == (200, {"x-length": "9"}, b"hello")


def test_what_the_lane_answers_goes_to_it_alone():
    status, headers, content = sent(
        Protocol(b"body"),
        lambda _, data: (Answered(201, "text/plain", data), [("content-type", "text/plain")]),
        content_length="4",
    )
    assert (status, headers, content) == (201, {"content-type": "text/plain"}, b"body")


def test_whether_the_process_answers_needs_no_thread(tmp_path):
    counts = Counts()
    made = Front(application, Lane(Server(Home(tmp_path)), Guard(token="0" * 32), counts), counts)
    made._threads.shutdown()  # nor can one be had

    def asked(**about):
        protocol = Protocol()
        asyncio.run(
            made.__rsgi__(SimpleNamespace(**{**vars(scope(host="localhost")), "path": "/livez", **about}), protocol)
        )
        return protocol.sent

    status, headers, content = asked(method="GET")
    assert (status, headers["content-type"], content) == (200, "application/json", b'{"status":"alive"}')
    assert {"x-request-id", "content-security-policy"} <= headers.keys()
    assert 'attrition_requests_total{route="/livez",status="200"} 1' in counts.lines()
    for other in ({"method": "POST"}, {"method": "GET", "query_string": "x=1"}, {"method": "GET", "headers": {}}):
        assert asked(**other)[0] == 500, "it is the application's, for which there is no thread"


@pytest.mark.parametrize("length", ["1000", str(front.SMALL + 1)])
def test_a_body_that_does_not_come_is_not_waited_for(length):
    counts = Counts()
    status, headers, content = sent(Protocol(b"{", ends=False), seconds=0.05, counts=counts, content_length=length)
    assert 'attrition_requests_total{route="none",status="408"} 1' in counts.lines(), "a flood of them must be seen"
    assert (status, headers["connection"]) == (408, "close")
    assert b'"status":408' in content


@pytest.mark.parametrize("length", ["1000", str(front.SMALL + 1)])
def test_nobody_is_answered_who_left_in_the_middle(length):
    assert sent(Protocol(b"{"), content_length=length) is None


def test_a_body_without_a_length_is_read_to_its_end_or_its_limit(monkeypatch):
    assert sent(Protocol(b"a" * 9), transfer_encoding="chunked")[1] == {"x-length": "9"}
    monkeypatch.setattr(front, "LONGEST_BODY", 8)
    assert sent(Protocol(b"a" * 9, ends=False), transfer_encoding="chunked")[0] == 413
    assert sent(Protocol(ends=False), content_length="9")[0] == 413


def test_large_bodies_are_refused_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(front, "MOST_WAITING", front.SMALL)
    assert sent(Protocol(b"a" * (front.SMALL + 1), ends=False), transfer_encoding="chunked")[0] == 503


def test_a_header_with_an_underscore_cannot_pass_for_another():
    def application(environment, start):
        start("200 OK", [])
        return [environment.get("HTTP_X_FORWARDED", "none").encode()]

    made = Front(application, lambda *_: None, Counts())
    protocol, asked = Protocol(), scope()
    asked.headers["x_forwarded"] = "me"
    asyncio.run(made.__rsgi__(asked, protocol))
    assert protocol.sent[2] == b"none"


def test_what_nobody_thought_of_is_a_problem_and_in_the_log(caplog):
    def lane(*_):
        raise KeyError("secret-9")

    status, headers, content = sent(Protocol(b"{}"), lane, content_length="2")
    assert (status, headers["content-type"]) == (500, "application/problem+json")
    assert b"secret-9" not in content
    assert "secret-9" in caplog.text
    assert headers["x-request-id"] in caplog.text
