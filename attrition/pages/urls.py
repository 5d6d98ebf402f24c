"""All addresses: the document tree, and what a page may link to. Files beside, below or above it, and places within.

```
executed/index.html                       the portfolios
executed/<portfolio>/index.html           a portfolio's home
                     runs-N.html          its runs, 100 a page, from the oldest
                     clients/             whom to call first: index.html, band-*.html, by-*.html
                     models/              index.html, <version>.html, <version>-compare.html
                     <run>/               index.html, compare.html, a page a stage
```

Each page stands beside its twin, the same as JSON. The API serves the same tree below ``/pages/``, where lists can also
be filtered and searched: an address of the API is one of these with a query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, urlencode

__all__ = ["Urls", "local", "twin"]

_LOCAL = re.compile(r"(?:\.\./)*(?:[\w%~-][\w.%~-]*/)*(?:[\w%~-][\w.%~-]*)?(?:\?[\w.%~=&+-]*)?(?:#[\w%.-]+)?", re.ASCII)


def local(href: object) -> str:
    """``href`` where it is a relative path, a query or a fragment; the empty string, for no link, where it is not.

    A scheme, a host, a path from the root and a backslash are not in its alphabet.
    """
    return href if isinstance(href, str) and len(href) <= 2000 and _LOCAL.fullmatch(href) else ""


def twin(href: str) -> str:
    """Where the same is as JSON."""
    return href.removesuffix(".html") + ".json"


@dataclass(frozen=True)
class Urls:
    """The addresses of one portfolio, as they are seen from a page; without ``up``, from the portfolio's folder."""

    up: str = ""  # from the page to the portfolio's folder

    @property
    def home(self) -> str:
        """The portfolios."""
        return f"{self.up}../index.html"

    @property
    def portfolio(self) -> str:
        """The portfolio's home."""
        return f"{self.up}index.html"

    @property
    def models(self) -> str:
        """All its models."""
        return f"{self.up}models/index.html"

    def runs(self, page: int, **asked: object) -> str:
        """One page of its runs; of those ``asked`` for, where the API serves it."""
        return f"{self.up}runs-{page}.html{_query(asked)}"

    def run(self, run: object, file: str = "index.html", anchor: str = "") -> str:
        """A run's page, or another file of it."""
        if not isinstance(run, str) or not run or run.startswith("."):
            return ""
        return local(f"{self.up}{quote(run, safe='')}/{quote(file, safe='')}{f'#{anchor}' if anchor else ''}")

    def model(self, version: object, file: str = "") -> str:
        """A model's page; with ``file`` ``compare``, beside the one it was tried against."""
        if not isinstance(version, str) or not version.isdecimal():
            return ""
        return f"{self.up}models/{version}{f'-{file}' if file else ''}.html"

    def clients(self, kind: str = "everybody", column: str = "", name: str = "", **asked: object) -> str:
        """A list of whom to call first: of everybody, of a band, or by a shown column; or of those ``asked`` for."""
        page = "index"
        if kind == "band":
            page = f"band-{quote(name, safe='')}"
        elif kind == "value":  # any text: a file is named by its hash
            told = f"{column}\0{name}".encode("utf-8", "surrogatepass")
            page = f"by-{sha256(told).hexdigest()[:12]}"
        return f"{self.up}clients/{page}.html{_query(asked)}"

    def compare(self, one: str, other: str) -> str:
        """Two runs, or two models, side by side; only the API has it."""
        return f"{self.up}compare.html{_query({'a': one, 'b': other})}"


def _query(asked: dict[str, object]) -> str:
    given = {key: value for key, value in asked.items() if value not in (None, "")}
    return f"?{urlencode(given)}" if given else ""
