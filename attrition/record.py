"""Named values and pictures in a notebook's outputs: leave them, read them back.

A recorded value is an output in the format of scrapbook, so other tools read it too. What was
recorded is the only thing that one stage, the runner, a page or the API takes from a notebook.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MIME", "NotRecorded", "leave", "picture", "plain", "read", "value"]

MIME = "application/scrapbook.scrap.json+json"


class NotRecorded(KeyError):
    """An executed notebook does not hold the value that was asked for."""

    def __init__(self, path: Path, name: str, has: list[str]):
        self.path, self.name, self.has = path, name, has
        super().__init__(f"{path.name} recorded no {name!r}; it has {', '.join(has) or 'nothing'}")

    def __str__(self) -> str:
        return str(self.args[0])


def leave(name: str, data: Any) -> None:
    """Record ``data`` (anything JSON can hold; NaN and infinity become null) under ``name``."""
    from IPython.display import display

    body = {"name": name, "data": plain(data), "encoder": "json", "version": 1}
    display({MIME: body}, metadata={"scrapbook": {"name": name, "data": True, "display": False}}, raw=True)


def picture(figure: Figure, alt: str) -> None:
    """Show a figure as PNG with a text for those who cannot see it, and close it."""
    from IPython.display import display
    from matplotlib import pyplot

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=96, bbox_inches="tight", metadata={"Software": ""})
    pyplot.close(figure)
    data = {"image/png": b64encode(buffer.getvalue()).decode(), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)


def read(path: Path) -> dict[str, Any]:
    """All values that an executed notebook recorded, by name; of a name left twice, the last.

    Raises:
        FileNotFoundError: there is no such notebook.
        ValueError: it is not JSON.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    values = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            body = output.get("data", {}).get(MIME)
            if isinstance(body, dict) and "name" in body:
                values[body["name"]] = body.get("data")
    return values


def value(path: Path, name: str) -> Any:
    """One recorded value.

    Raises:
        NotRecorded: the notebook ran without leaving it.
    """
    values = read(path)
    if name not in values:
        raise NotRecorded(path, name, sorted(values))
    return values[name]


def plain(data: Any) -> Any:
    """``data`` as JSON holds it: mappings, lists, text, finite numbers, booleans, null."""
    if data is None or isinstance(data, bool | int | str):
        return data
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): plain(each) for key, each in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [plain(each) for each in data]
    if hasattr(data, "to_dict"):  # a pandas frame or series: rows, or values by label
        return plain(data.to_dict(orient="records") if hasattr(data, "columns") else data.to_dict())
    if hasattr(data, "isoformat"):
        return data.isoformat()
    if hasattr(data, "tolist"):  # numpy scalars and arrays
        return plain(data.tolist())
    raise TypeError(f"{type(data).__name__} cannot be recorded: give it as numbers, text, lists or mappings")
