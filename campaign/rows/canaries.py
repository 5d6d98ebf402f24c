"""Row 17: secrets wherever the product, or a library on its behalf, takes one; then all that is left is searched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from random import Random

from attrition.console import USAGE
from attrition.home import Place
from campaign import kit, oracle, real
from campaign.harness import Ended, Result, child, scratch
from campaign.rows.processes import with_cell

NOBODY = "127.0.0.1:9"
ENDPOINT = f"http://{NOBODY}"
SECRETS = {
    "ATTRITION_TOKEN": "{}",  # asked for by the API, and sent by its client
    "ATTRITION_MODEL_KEY": "{}",  # signs the models
    "CRM": f"postgresql://reader:{{}}@{NOBODY}/crm?connect_timeout=2",
    "CRM2": "host=127.0.0.1 port=9 user=reader password={} connect_timeout=2",
    "CRM3": "postgresql://reader:{}@nowhere.invalid/crm",
    "CRM4": "no connection string, with {} in it",
    "EXPORTS": '{{"username": "reader", "password": "{}", "timeout": 2}}',
    "EXPORTS2": '{{"unknown": "{}"}}',
    "EXPORTS3": "no JSON, with {} in it",
    "BUCKET": f'{{{{"key": "reader", "secret": "{{}}", "endpoint_url": "{ENDPOINT}"}}}}',
    "WEB": '{{"headers": {{"Authorization": "Bearer {}"}}, "client_kwargs": {{"trust_env": true}}}}',
    "HDFS": '{{"use_https": true, "user": "reader", "password": "{}"}}',
    "PGPASSWORD": "{}",  # for CRM5, which has none of its own
    "HTTP_PROXY": f"http://reader:{{}}@{NOBODY}",  # messages, the heartbeat and the API's client go through it
    "HTTPS_PROXY": f"http://reader:{{}}@{NOBODY}",  # WEB and HDFS
    "AWS_SECRET_ACCESS_KEY": "{}",  # for BUCKET2, which has none of its own
    "AWS_SESSION_TOKEN": "{}",
}
"""Variables that hold one secret each: read by the product, or by the libraries that fail on its behalf."""
PLAIN = {
    "CRM5": f"postgresql://reader@{NOBODY}/crm?connect_timeout=2",
    "BUCKET2": "{}",
    "AWS_ACCESS_KEY_ID": "reader",
    "AWS_ENDPOINT_URL": ENDPOINT,
    "AWS_MAX_ATTEMPTS": "1",
}
URLS = {
    "EXPORTS": f"ftp://{NOBODY}/*.csv",
    "BUCKET": "s3://bucket/*.csv",
    "WEB": f"https://{NOBODY}/clients.csv",
    "HDFS": f"webhdfs://{NOBODY}/clients.csv",
}
LIBRARIES = {"BUCKET": "s3fs", "WEB": "aiohttp", "HDFS": "requests"}
ALERTS = f"""
to:
  - "http://{NOBODY}/{{0}}"
  - "mailto://reader:{{1}}@example.com:9?smtp=127.0.0.1&to=reader@example.com&mode=insecure"
  - "json://reader:{{2}}@{NOBODY}/hook"
heartbeat: http://{NOBODY}/{{3}}
link: https://risk.example
"""
RAISES = f"""
from attrition.api_client import Client
Client("{ENDPOINT}", "shop").model()
"""
ADDRESS = f"postgresql://reader:{{}}@{NOBODY}/crm"
IN_YAML = f"sources: [{{{{name: crm, postgres: '{ADDRESS}', query: SELECT 1}}}}]\n"
ON_THE_LINE = {"top": ADDRESS, "deadline": f"[{ADDRESS}", "engine.dask": f"tcp://reader:{{}}@{NOBODY}"}
"""Keys that take no secret: somebody gives them one with -p."""
PLACES = [
    *SECRETS,
    *(f"alerts.yaml {number}" for number in range(4)),
    "a source's address in the YAML",
    *(f"-p {key}" for key in ON_THE_LINE),
]
ROUTES = ("/", "/livez", "/readyz", "/readyz?fresh=1", "/metrics", "/openapi.json", "/model", "/scoring", "/clients")
MORE = ("/summarystats", "/diagnostics", "/runs", "/pages/index.html", "/pages/shop/index.html")


def run(count: int, seed: int) -> Result:
    """Sources, alerts, the API's client, a stage and parameters are given secrets, and fail; the API is asked then.

    ``count`` of the places have one.
    """
    result, chance = Result(whole=len(PLACES)), Random(seed)
    values = {name: f"canary{chance.getrandbits(96):024x}" for name in PLACES}
    hidden = dict(list(values.items())[:count])
    with scratch() as folder:
        place = real.start(folder)
        given = PLAIN | {name: how.format(values[name]) for name, how in SECRETS.items()}
        said, missing = _lived(place, given, values, folder / "nb")
        asked = child(lambda: _asked(place, given))
        if asked.status:
            raise AssertionError(f"the API did not answer: {asked.said[-2000:]}")
        result.case("what was to fail did, and the API answered", missing + asked.value[1])
        for name, value in hidden.items():
            left = child(lambda value=value: oracle.holding(place.root, value))  # type: ignore[misc]
            wrong = [f"it is left in {path}" for path in left.value] if left.status == 0 else [left.said[-500:]]
            wrong += ["it is said"] if value in said + asked.said else []
            result.case(name, wrong + (["the API says it"] if value in asked.value[0] else []))
    absent = [f"{library} ({name})" for name, library in LIBRARIES.items() if find_spec(library) is None]
    result.notes += [f"not asked, for want of its library: {', '.join(absent)}"] if absent else []
    return result


def _lived(place: Place, given: Mapping[str, str], values: Mapping[str, str], notebooks: Path) -> tuple[str, list[str]]:
    """What all that was called said, and what of it should have failed, or ended well, and did not."""
    alerts = place.root / "alerts.yaml"
    alerts.write_text(ALERTS.format(*(values[f"alerts.yaml {number}"] for number in range(4))))
    alerts.chmod(0o600)
    called = [real.ended(real.tick(place, given))]  # a good one, whose heart beats
    refused = _refused(place, given, values)
    with place.params.open("a") as params:
        params.write(_sources())
    kit.drop(place, "more.csv", kit.rows(7, 5))
    raising = {"ATTRITION_NOTEBOOKS": str(with_cell(notebooks, "monitor", RAISES))}
    called += [real.ended(real.tick(place, {**given, **raising})), real.ended(real.tick(place, given))]
    called += [
        real.ended(real.command(place, words, given)) for words in (["doctor"], ["show", place.name], ["schedule"])
    ]
    alerts.unlink()  # the one file that may hold them
    said = "".join(each.said for each in [*called, *refused])
    wrong = [f"not refused, but {each.status}: {each.said[-300:]}" for each in refused if each.status != USAGE]
    wrong += [] if called[0].status == 0 else [f"the first tick failed: {called[0].said[-300:]}"]
    services = ["(http) did not", "(mailto) did not", "(json) did not", "heartbeat: ", "failed in stage monitor"]
    awaited = [*(f"source {name.lower()}: " for name in _named()), *services]
    return said, wrong + [f"nothing is said of {each!r}" for each in awaited if each not in said]


def _refused(place: Place, given: Mapping[str, str], values: Mapping[str, str]) -> list[Ended]:
    """Ticks with a secret in the YAML, and with one as a parameter of their own."""
    plain = place.params.read_text()
    place.params.write_text(plain + IN_YAML.format(values["a source's address in the YAML"]))
    found = [real.ended(real.tick(place, given))]
    place.params.write_text(plain)
    for key, how in ON_THE_LINE.items():
        words = ["tick", place.name, "-p", key, how.format(values[f"-p {key}"])]
        found.append(real.ended(real.command(place, words, given)))
    return found


def _named() -> list[str]:
    """Variables that a source is made of."""
    return [name for name in (SECRETS | PLAIN) if name.rstrip("0123456789") in (*URLS, "CRM")]


def _sources() -> str:
    """YAML of a source for each of them."""
    lines = ["sources:"]
    for name in _named():
        kind = name.rstrip("0123456789")
        if kind == "CRM":
            about = f"postgres: {name}, query: SELECT * FROM clients, watermark: at, overlap: 1h"
        else:
            about = f"url: '{URLS[kind]}', options: {name}"
        lines.append(f"  - {{name: {name.lower()}, {about}}}")
    return "\n".join(lines) + "\n"


def _asked(place: Place, given: Mapping[str, str]) -> tuple[str, list[str]]:
    """All that the API says, with the token and without; and what should have been answered, and was not."""
    os.environ |= given
    from api import create_app

    asking = create_app({"HOME": str(place.root)}).test_client()
    runs = [path.parent.name for path in place.executed.glob("[12]*/run.json")]
    more = [path for run in runs for path in (f"/runs/{run}", f"/pages/{place.name}/{run}/index.html")]
    said, wrong = "", []
    for path in [*ROUTES, *MORE, *more]:
        for token in ("", given["ATTRITION_TOKEN"]):
            answer = asking.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})
            said += f"{answer.headers}\n{answer.text}\n"
        wrong += [] if answer.status_code == 200 else [f"{path} answered {answer.status}: {answer.text[:300]}"]
    return said, wrong
