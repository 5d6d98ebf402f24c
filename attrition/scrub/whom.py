"""A client, and how he is found in what people and machines wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrition.params import Portfolio

__all__ = ["GONE", "PLAIN", "Whom"]

GONE = "[a client who was forgotten]"
PLAIN = re.compile(r"[0-9]{1,5}")
"""An id that any number may look like: text is cleaned of it only where it stands for a client."""


class Whom:
    """A client, and how to find it in what people and machines wrote.

    ``token`` finds the id as a word of its own. An id such as 17 is also a count, a version or an hour: of that, a text
    is left as it is unless it names clients (``names``). Of a whole number files may write zeros before it.

    ``rows``: by the number of each row of clients/ that is, or was, the client's, all texts in it. The YAML may have
    named another column under id before, and what runs of that time wrote of the row has the text of that one.
    """

    def __init__(self, client: str, portfolio: Portfolio, rows: Mapping[str, Sequence[str]] | None = None):
        self.client, self.portfolio, self.rows = client, portfolio, rows or {}
        self.plain = bool(PLAIN.fullmatch(client))
        forms = {client, json.dumps(client)[1:-1], _html(client), client.replace('"', '""')}
        words = "|".join(map(_pattern, sorted(forms, key=len, reverse=True)))
        zeros = "0*" if not self.plain and portfolio.columns[str(portfolio.id)].type == "integer" else ""
        self.token = re.compile(rf"(?<![\w.-])(?:{zeros}(?:{words}))(?![\w-]|\.\d)")
        self.keys = {"id", "client", portfolio.id}
        called = {"client", str(portfolio.id), portfolio.label(str(portfolio.id))}
        self.names = re.compile("|".join(re.escape(word) for word in sorted(called)), re.IGNORECASE)

    def in_text(self, text: str) -> bool:
        """Whether a text speaks of the client."""
        return bool(self.token.search(text)) and (not self.plain or bool(self.names.search(text)))

    def clean(self, text: str) -> str:
        """A text without the id; that of a plain number is only cut where the text names clients."""
        return self.token.sub(GONE, text) if not self.plain else text

    def without(self, value: Any) -> Any:
        """JSON without the entries that are of the client, and without the id in its texts."""
        if isinstance(value, dict):
            return {key: self.without(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.without(each) for each in value if not self._is(each)]
        return self.clean(value) if isinstance(value, str) else value

    def _is(self, value: Any) -> bool:
        if isinstance(value, dict):
            return any(str(value.get(key)) == self.client for key in self.keys if key in value)
        return not self.plain and value == self.client


def _pattern(form: str) -> str:
    """A regular expression for a text; JSON may write \\u00e9 with small and with large digits."""
    return re.sub(r"\\\\u[0-9a-f]{4}", lambda found: f"(?i:{found[0]})", re.escape(form))


def _html(text: str) -> str:
    from html import escape

    return escape(text)
