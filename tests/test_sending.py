"""What a service is sent, to the byte, and what is said of one that does not take it."""

import json
import threading

import pytest
from alerts_kit import Quiet, serving

from attrition import sending


class Service(Quiet):
    """Answers the status that its path ends with, and 200 to any other one; sends on to /else what ends with /30x."""

    def do_GET(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.got.append((self.command, self.path, self.headers, body))
        end = self.path.rpartition("/")[2]
        status = int(end) if end.isdigit() else 200
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://localhost:{self.server.server_port}/else")
        self.end_headers()

    def do_POST(self):
        self.do_GET()


def delivered(to, title="t", text="x"):
    return sending.Services(to).deliver(title, text)


@pytest.fixture
def service():
    with serving(Service) as server:
        server.got = []
        yield server


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("/hook?token=abc&api-version=2016", "/hook?token=abc&api-version=2016"),
        ("/hook?sig=a%2Fb&+key=-x&:title=t", "/hook?sig=a%2Fb&+key=-x&:title=t"),
        ("/a%20b/ä b?q=ü#part", "/a%20b/%C3%A4%20b?q=%C3%BC"),
        ("", "/"),
    ],
)
def test_a_webhook_is_posted_to_as_it_is_written_what_apprise_would_post(service, given, asked):
    assert delivered([service.url + given], "A title", "Two\nlines, ä") == (1, [])
    as_apprise = service.url.replace("http://", "json://")
    assert delivered([as_apprise], "A title", "Two\nlines, ä") == (1, [])
    (command, path, headers, body), (*_, other) = service.got
    assert (command, path, headers["Content-Type"]) == ("POST", asked, "application/json")
    assert json.loads(body) == json.loads(other)
    assert json.loads(body)["message"] == "Two\nlines, ä"


def test_name_and_password_of_an_address_are_sent_as_such_and_to_no_one_else(service):
    secret = service.url.replace("http://", "http://us%40er:p%2Fw@")
    assert delivered([f"{secret}/hook"]) == (1, [])
    assert sending.ping(f"{secret}/302") == ""
    assert [(path, headers["Authorization"]) for _, path, headers, _ in service.got] == [
        ("/hook", "Basic dXNAZXI6cC93"),
        ("/302", "Basic dXNAZXI6cC93"),
        ("/else", None),
    ]


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 500])
def test_only_an_answer_of_2xx_is_a_message_that_was_taken(service, status):
    url = f"{service.url}/secret/{status}"
    reached, troubles = delivered([f"{service.url}/takes", url])
    wrong = [] if status == 204 else [f"to: number 2 (http) did not take the message (status {status})"]
    assert (reached, troubles) == (2 - len(wrong), wrong)
    assert len(service.got) == 2  # and nothing was followed, which would lose the message


class Nonsense(Quiet):
    def do_GET(self):
        self.wfile.write(b"secret nonsense\r\n\r\n")

    def do_POST(self):
        self.do_GET()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:9/secret", "ConnectionRefusedError"),
        ("http://127.0.0.1:secret/", "InvalidURL"),
        ("http://[secret/", "ValueError"),
        ("http://secret:secret@127.0.0.1:9", "ConnectionRefusedError"),
    ],
)
def test_what_is_wrong_is_said_without_the_address(url, why):
    assert delivered([url]) == (0, [f"to: number 1 (http) did not take the message ({why})"])
    assert sending.ping(url) == f"it could not be told ({why})"


def test_an_answer_that_is_no_http_is_said_so():
    with serving(Nonsense) as server:
        assert delivered([server.url])[1] == ["to: number 1 (http) did not take the message (BadStatusLine)"]
        assert sending.ping(server.url) == "it could not be told (BadStatusLine)"


class Drips(Quiet):
    """A header that takes long, each byte of it no time."""

    def do_GET(self):
        self.server.got.append(self.path)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nLong: ")
        for _ in range(50):
            if self.server.over.wait(0.1):
                return
            self.wfile.write(b"a")
        self.wfile.write(b"\r\n\r\n")

    def do_POST(self):
        self.do_GET()


@pytest.fixture
def drips(monkeypatch):
    monkeypatch.setattr(sending, "PATIENCE", 1.0)
    with serving(Drips) as server:
        server.got, server.over = [], threading.Event()
        yield server
        server.over.set()


@pytest.mark.parametrize("scheme", ["http", "json"])
def test_a_service_that_drips_is_not_waited_for_beyond_its_deadline(drips, scheme):
    url = drips.url.replace("http", scheme)
    why = "(no whole answer within 1.0 s)"
    assert delivered([url]) == (0, [f"to: number 1 ({scheme}) did not take the message {why}"])
    assert sending.ping(drips.url) == f"it could not be told {why}"


def test_a_service_that_did_not_answer_is_left_out_until_the_next_tick_and_the_others_are_not(drips, service):
    services = sending.Services([f"{service.url}/500", f"{service.url}/takes", f"{drips.url}/drips"])
    refused = "to: number 1 (http) did not take the message (status 500)"
    with_it, *without = (services.deliver("t", "x") for _ in range(3))
    assert with_it == (1, [refused, "to: number 3 (http) did not take the message (no whole answer within 1.0 s)"])
    left_out = "to: number 3 (http) is left out until the next tick: it did not answer in this one"
    assert without == [(1, [refused, left_out])] * 2
    assert [path for _, path, *_ in service.got] == ["/500", "/takes"] * 3
    assert drips.got == ["/drips"]
