"""What the tests of the API share: a client that reads to the end, and the form of a problem."""

from __future__ import annotations

from typing import Any

import homes
from flask import Flask
from flask.testing import FlaskClient

import api
from attrition.home import Home

RUN = f"/runs/{homes.LAST}"
RECORDED = ["/scoring", "/summarystats", "/diagnostics", "/clients", "/model", "/runs", RUN, f"{RUN}/60_diagnose.html"]
PAGES = [*RECORDED, "/", "/livez", "/readyz", "/metrics", "/openapi.json", f"{RUN}/60_diagnose.ipynb"]


class Client(FlaskClient):
    """Reads every answer to its end, so that files are closed as a server closes them."""

    def open(self, *given: Any, **options: Any) -> Any:
        return super().open(*given, buffered=True, **options)


def app(home: Home) -> Flask:
    """The application on a home; it looks at ``current.json`` with each request."""
    made = api.create_app({"HOME": home.root})
    made.extensions["server"].pause = 0
    made.test_client_class = Client
    return made


def problem(response: Any, status: int) -> dict[str, Any]:
    """The problem that a response is, checked for its form."""
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    found: dict[str, Any] = response.get_json()
    assert found["status"] == status
    assert {"type", "title", "detail"} <= found.keys()
    return found
