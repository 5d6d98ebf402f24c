"""The real server: granian, started by the test, asked over sockets."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import api_kit
import homes
import pytest

from attrition import safe
from attrition.api_client import ApiError, Client
from attrition.front import LONGEST_BODY
from attrition.home import REPOSITORY
from attrition.served import Served

JSON = {"Content-Type": "application/json"}
DAY = str(86_400 * 36_500)  # seconds between ticks: the test home's are of another year


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return homes.make(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def server(home):
    """One server for the tests that change nothing in its home."""
    with api_kit.running(home, ATTRITION_INTERVAL=DAY) as running:
        yield running


def exchange(server, method, path, body=None, headers=JSON):
    """Status, headers and body of one request."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def raw(server, data):
    """What comes back for bytes as they are."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(data)
        return connection.recv(65536)


def test_a_process_that_has_served_predictions_only_is_small(home):
    with api_kit.running(home) as own:
        for body in (
            homes.RECORD,
            [homes.RECORD] * 1000,
            {name: [value] * 1000 for name, value in homes.RECORD.items()},
        ):
            assert exchange(own, "POST", "/prediction", json.dumps(body))[0] == 200
        assert own.megabytes <= 150


def test_the_lane_and_the_route_give_the_same(server, home):
    client = api_kit.app(home).test_client()
    bodies = [
        homes.RECORD,
        [homes.RECORD, {**homes.RECORD, "client": None}],
        {"usage": "x"},
        {"plan": "\ud800"},
        {"\ud800": 1},
        [],
        5,
    ]
    for body in [*map(json.dumps, bodies), "{", "[" * 10_000]:
        for path in ("/prediction", "/prediction?portfolio=shop", "/prediction?portfolio=none"):
            status, headers, content = exchange(server, "POST", path, body)
            route = client.post(path, data=body, content_type="application/json")
            found, expected = json.loads(content), route.get_json()
            assert (status, headers["content-type"]) == (route.status_code, route.content_type)
            assert found.pop("request", None) == headers["x-request-id"] if status != 200 else "request" not in found
            expected.pop("request", None)
            assert found == expected
            ours = {name.lower(): value for name, value in route.headers.items()}
            assert headers.keys() - {"server", "date"} == ours.keys()
            assert all(headers[name] == ours[name] for name in ours.keys() - {"x-request-id", "content-length"})


def test_every_page_answers_over_the_wire_as_in_the_application(server, home):
    client = api_kit.app(home).test_client()
    for path in api_kit.PAGES:
        status, _, content = exchange(server, "GET", path)
        assert status == 200
        if path not in ("/metrics", "/readyz", "/"):
            assert content == client.get(path).data
    etag = exchange(server, "GET", "/scoring")[1]["etag"]
    assert exchange(server, "GET", "/scoring", headers={"If-None-Match": etag})[0] == 304
    assert exchange(server, "HEAD", "/scoring")[2] == b""


@pytest.mark.parametrize(
    "path", ["/runs/../../etc/passwd", "/runs/%2e%2e/x", "/..%2f..%2fetc/passwd", "/runs/é", "/%ff"]
)
def test_no_path_leads_out(server, path):
    answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert answer.split()[1] in (b"404", b"400")


def test_the_typed_client_gives_what_the_api_says(server):
    client = Client(server.url, "shop")
    found = client.predict([homes.RECORD, homes.RECORD], explain=2)
    assert (found.version, found.portfolio, found.threshold) == ("0001", "shop", 0.5)
    first, second = found.predictions
    assert first == second
    assert (first.id, first.band in ("high", "medium", "low"), first.decision) == (
        "c-1",
        True,
        first.probability >= 0.5,
    )
    listed = client.clients(limit=2)
    assert ([each.id for each in listed.clients], listed.total, listed.model) == (["c-3", "c-1"], 3, "0001")
    assert listed.clients[0].shown == {"since": "2026-01-01"}
    assert [each.id for each in client.clients(band="low", id="C-2").clients] == ["c-2"]
    assert client.scoring()["run"] == homes.FIRST
    assert client.ready(fresh=True)["status"] == "ready"
    assert [run["run"] for run in client.runs(limit=1)["runs"]] == [homes.LAST]
    with pytest.raises(ApiError) as caught:
        client.predict([{**homes.RECORD, "usage": -1}])
    assert (caught.value.status, caught.value.errors[0]["field"]) == (422, "usage")
    with pytest.raises(ApiError) as caught:
        Client("http://127.0.0.1:9", seconds=5).scoring()
    assert caught.value.status is None


def test_slow_clients_hold_up_nobody(server):
    head = b"POST /prediction HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for number, connection in enumerate(held):
        connection.sendall(head + (b"1000\r\n\r\n{" if number % 2 else b"5000000\r\n\r\n{"))
    for _ in range(20):
        assert exchange(server, "POST", "/prediction", json.dumps(homes.RECORD))[0] == 200
        assert exchange(server, "GET", "/clients")[0] == 200
    for connection in held:
        connection.close()


@pytest.mark.parametrize("length", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
def test_a_gigabyte_is_not_read(server, length):
    piece = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20)) if b"chunked" in length else b" " * (1 << 20)
    before = server.megabytes
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(
            b"POST /prediction HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + length
        )
        connection.sendall(b"\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(piece * 1000)
    assert server.megabytes < before + 100


HOSTILE = [
    b"[" * 10_000,
    b"{" + b",".join(b'"c%d":1' % number for number in range(700_000)) + b"}",
    b"[" + b"{}," * 3_000_000 + b"{}]",
    b'{"usage":[' + b"1," * 5_000_000 + b"1]}",
    b'["' + b"x" * 10_000_000 + b'"]',
    b" " * 10_000_000 + b"{",
]


def test_hostile_bodies_are_refused_within_memory(server):
    with ThreadPoolExecutor(8) as together:
        asked = [together.submit(exchange, server, "POST", "/prediction", body) for body in HOSTILE * 3]
        small = [together.submit(exchange, server, "POST", "/prediction", json.dumps(homes.RECORD)) for _ in range(50)]
        assert {each.result()[0] for each in asked} <= {400, 413, 422, 503}
        assert {each.result()[0] for each in small} == {200}
    assert server.megabytes < 512


@pytest.mark.parametrize("size", [LONGEST_BODY + 1, 10**30, -1, "x"])
def test_a_length_that_is_too_long_or_none_is_refused(server, size):
    sent = f"POST /prediction HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()
    assert raw(server, sent).split()[1] in (b"400", b"413")


def test_another_address_needs_a_token(home):
    token = "0123456789abcdef0123456789abcdef"
    with api_kit.running(home, "--host", "127.0.0.2", ATTRITION_TOKEN=token) as own:

        def asked(path, **headers):
            connection = http.client.HTTPConnection("127.0.0.2", own.port, timeout=60)
            connection.request(
                "POST" if path == "/prediction" else "GET", path, json.dumps(homes.RECORD), JSON | headers
            )
            response = connection.getresponse()
            response.read()
            connection.close()
            return response.status

        for path in ("/prediction", "/clients", "/nowhere"):
            assert asked(path) == 401
            assert asked(path, Authorization=f"Bearer {token[:-1]}") == 401
            assert asked(path, Authorization=f"Bearer {token}") == (404 if path == "/nowhere" else 200)
            assert asked(path, Authorization=f"Bearer {token}", Host="evil.example") == 403
        assert asked("/livez") == 200


def test_a_stop_refuses_but_truncates_nothing(home):
    rows = json.dumps([homes.RECORD] * 3000)
    told = []

    def ask(server, begun):
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            while True:
                try:
                    connection.request("POST", "/prediction", rows, JSON)
                    response = connection.getresponse()
                except (OSError, http.client.RemoteDisconnected):
                    return
                told.append(len(json.loads(response.read())["predictions"]))
                begun.set()

    with api_kit.running(home) as own:
        begun = [threading.Event() for _ in range(4)]
        threads = [threading.Thread(target=ask, args=(own, each)) for each in begun]
        for thread in threads:
            thread.start()
        for each in begun:
            each.wait(60)
        own.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert own.process.wait(60) == 0
    assert set(told) == {3000}


def test_swaps_under_load_fail_nothing_and_mix_nothing(tmp_path):
    home = homes.make(tmp_path)
    place = home.place("shop")
    expected, over, answers = {}, threading.Event(), []

    def note():
        served = Served.load(place)
        answer, _ = served.answer(json.dumps([homes.RECORD] * 2).encode(), "application/json")
        expected[served.manifest.version] = [each.probability for each in answer.predictions]

    def ask(server):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        while not over.is_set():
            connection.request("POST", "/prediction", json.dumps([homes.RECORD] * 2), JSON)
            response = connection.getresponse()
            found = json.loads(response.read())
            said = [each["probability"] for each in found.get("predictions", [])]
            answers.append((response.status, found.get("model", {}).get("version"), said))
        connection.close()

    def serves(server, version):
        while json.loads(exchange(server, "GET", "/model")[2])["model"]["version"] != version:
            assert server.process.poll() is None

    note()
    with api_kit.running(home) as own:
        threads = [threading.Thread(target=ask, args=(own,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(2, 12):
            version = f"{number:04d}"
            if number % 5 == 0:  # spoilt before it is pointed to, or the server might have read it by then
                shutil.copytree(place.models / f"{number - 1:04d}", place.models / version)
                (place.models / version / "model.pkl").write_bytes(b"spoilt")
                pointed = json.loads(place.current.read_bytes()) | {"version": version}
                safe.write(place.current, json.dumps(pointed))
                while not json.loads(exchange(own, "GET", "/model")[2])["trouble"]:
                    assert own.process.poll() is None
            else:
                homes.deploy(place, version, seed=number)
                note()
                serves(own, version)
        over.set()
        for thread in threads:
            thread.join()
    versions = {version for _, version, _ in answers}
    assert {"0004", "0011"} <= versions <= expected.keys()
    assert all((status, said) == (200, expected[version]) for status, version, said in answers)


def test_a_worker_that_is_killed_has_another_in_its_stead(home):
    """As where memory ran out: cron would start the API with the machine only."""
    with api_kit.running(home) as own:
        killed, end = own.worker, time.monotonic() + 60
        os.kill(killed, signal.SIGKILL)
        answered = False
        while not answered:
            assert time.monotonic() < end
            assert own.process.poll() is None
            with suppress(OSError, http.client.HTTPException, StopIteration):  # it just goes, or comes
                answered = exchange(own, "GET", "/livez")[0] == 200 and own.worker != killed
        assert exchange(own, "POST", "/prediction", json.dumps(homes.RECORD))[0] == 200


@pytest.mark.parametrize("taken", [True, False])
def test_a_start_that_can_never_work_ends(home, tmp_path, taken):
    code = (REPOSITORY / "api.py").read_text()
    if not taken:
        code = code.replace("    app = create_app()\n", "    raise RuntimeError('never')\n")
    (tmp_path / "api.py").write_text(code)
    environment = {**os.environ, "ATTRITION_HOME": str(home.root), "PYTHONPATH": str(REPOSITORY)}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        command = [sys.executable, str(tmp_path / "api.py"), "--port", str(other.getsockname()[1])]
        if taken:
            other.listen()
        else:
            other.close()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert ("Address already in use" if taken else "RuntimeError: never") in done.stderr
