"""Model versions: their folders and manifests, what is deployed, and loading that trusts no file.

``models/<portfolio>/<version>/`` holds ``model.pkl`` and ``manifest.json``; ``current.json`` beside the
versions names the one that serves. A pickle can run code, so its bytes are compared with the manifest
before they are read, and then only the few names below may be built from them.
"""

from __future__ import annotations

import hmac
import pickle
import platform
import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from attrition import pickles, safe, secret
from attrition.home import MANIFEST, MODEL

if TYPE_CHECKING:  # scikit-learn and pandas take a second to import: a quiet tick does without them
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from attrition.params import Portfolio

__all__ = [
    "KEY",
    "LARGEST",
    "Current",
    "Golden",
    "Manifest",
    "ModelRefused",
    "current",
    "frame",
    "libraries",
    "load",
    "read_manifest",
    "rewrite",
    "verified",
    "version_path",
    "write",
]

CURRENT = "current.json"
Kind = TypeVar("Kind")
VERSION = re.compile(r"[0-9]{4,}")
KEY = "ATTRITION_MODEL_KEY"
"""Names the secret that signs models."""
LARGEST = 64 * 1024 * 1024  # bytes of a model, or manifest, that is read
AGREEMENT = 1e-9  # between a golden row's probability and the one that was noted at training


class ModelRefused(ValueError):
    """A model will not be used: which file, why, and what to do. ``why`` and ``remedy`` hold no path."""

    def __init__(self, path: Path, why: str, remedy: str):
        self.path, self.why, self.remedy = path, why, remedy
        super().__init__(f"{path}: {why}; {remedy}")


UNREADABLE = (
    "mend its permissions or the disk, restore it from a backup, or roll back to another version; "
    "if it is lost, remove it, and the next tick trains one in its place, without a proof"
)
"""What to do about a file that is there and cannot be read."""


class ModelUnreadable(ModelRefused):
    """A file is there and cannot be read at the moment, which says nothing of what is in it."""

    def __init__(self, path: Path, error: OSError):
        self.number = error.errno
        super().__init__(path, f"it cannot be read: {error.strerror}", UNREADABLE)

    def passing(self) -> OSError:
        """The system's error, with what to do: by it a tick fails and is tried again; nothing is done in its stead."""
        return OSError(self.number, str(self))


class Golden(msgspec.Struct, frozen=True):
    """A few rows, and the probabilities that the model gave them when it was trained."""

    rows: list[dict[str, Any]]
    probabilities: list[float]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one model version is, and where it came from."""

    version: str
    portfolio: str
    sha256: str  # of model.pkl
    mac: str | None = None  # HMAC of portfolio, version and sha256, where a key was set when it was written
    bytes: int
    data_version: int
    rows: int  # that its coefficients rest on
    known: int  # that could be learnt from when it was trained
    left: int  # of these, clients that left
    way: str = "all"  # in which it learnt from them (attrition.candidates)
    mends: str = ""  # the version whose coefficients it starts from; empty: none
    change_version: int = 0  # with which clients were thought to have changed; 0: not known to
    held_back: str = ""  # mark of the rows that it was not trained on (model.split); empty: none
    trained_to: int  # the newest row among them
    features: list[str]
    asks: dict[str, str | int | None] = {}  # what a client in a window was (params.Portfolio.asks); empty: not known
    params: dict[str, Any]
    params_sha256: str
    metrics: dict[str, Any]
    coefficients: list[Any]
    base: dict[str, float]  # what each feature adds to the average client's logit; reasons are told against it
    usual: dict[str, Any] = {}  # the usual value of each feature, for the words of a reason
    libraries: dict[str, str]
    run: str
    git_commit: str | None = None
    trained_at: str
    golden: Golden | None = None
    not_replayable: str = ""  # why it cannot be made again from its data version; empty: it can

    def fits(self, portfolio: Portfolio) -> bool:
        """Whether the YAML names the features that the model was trained on."""
        return set(self.features) == set(portfolio.features)

    def otherwise(self, portfolio: Portfolio) -> str:
        """What the YAML asks otherwise than when the model was trained, in words; empty: nothing, or it is not known.

        By another horizon, say, other rows count, and in other versions: of some of them it would be said that the
        model never saw them, and some would be judged again.
        """
        now = portfolio.asks
        return " and ".join(
            f"{key} is {'none' if now[key] is None else now[key]}, and was {'none' if was is None else was}"
            for key, was in self.asks.items()
            if key in now and now[key] != was
        )


class Current(msgspec.Struct, frozen=True):
    """Which version serves."""

    portfolio: str
    version: str
    sha256: str
    run: str  # that deployed it
    deployed_at: str
    proven: bool  # whether it was shown to be better, not only the first there is


def version_path(models: Path, version: str) -> Path:
    """The folder of a version.

    Raises:
        ValueError: ``version`` is not four digits or more.
    """
    if not VERSION.fullmatch(version):
        raise ValueError(f"{version[:40]!r} is no model version: four digits or more, such as 0001")
    return models / version


@cache
def installed(library: str) -> str:
    """Its version, as it was when this process first asked: what is installed meanwhile is not what it has loaded."""
    return metadata.version(library)


def libraries() -> dict[str, str]:
    """Versions of Python and of what a model's pickle depends on."""
    names = ("scikit-learn", "numpy", "pandas")
    return {"python": platform.python_version(), **{name: installed(name) for name in names}}


def write(folder: Path, pipeline: Pipeline, **facts: Any) -> Manifest:
    """Write a fitted pipeline and its manifest into ``folder``, which is there already.

    ``facts`` are the fields of :class:`Manifest`; ``sha256``, ``bytes``, ``libraries`` and ``mac`` are found here.

    Raises:
        ValueError: a fact is missing, unknown or of the wrong type.
    """
    data = pickle.dumps(pipeline, protocol=5)
    digest = sha256(data).hexdigest()
    mac = _mac(str(facts.get("portfolio")), str(facts.get("version")), digest)
    found = {"sha256": digest, "bytes": len(data), "libraries": libraries(), "mac": mac}
    unknown = sorted(facts.keys() - (set(Manifest.__struct_fields__) - found.keys()))
    if unknown:
        raise ValueError(f"manifest: {', '.join(unknown)}: not a fact that the caller gives")
    try:
        manifest = msgspec.convert({**facts, **found}, Manifest)
    except msgspec.ValidationError as error:
        raise ValueError(f"manifest: {error}") from None
    safe.make_folder(folder)
    safe.write(folder / MODEL, data)
    safe.write(folder / MANIFEST, _document(manifest))
    return manifest


def rewrite(folder: Path, **facts: Any) -> None:
    """Change facts of a manifest that say nothing of the model's bytes; the signature stays good."""
    safe.write(folder / MANIFEST, _document(msgspec.structs.replace(read_manifest(folder), **facts)))


def read_manifest(folder: Path) -> Manifest:
    """What the version in ``folder`` says of itself.

    Raises:
        ModelRefused: there is no manifest, or it cannot be read.
    """
    return _decoded(folder / MANIFEST, Manifest)


def current(models: Path) -> Current | None:
    """Which version serves; None before the first is deployed.

    Raises:
        ModelRefused: ``current.json`` cannot be read, or names no version.
    """
    if not safe.exists(path := models / CURRENT):
        return None
    found = _decoded(path, Current)
    if not VERSION.fullmatch(found.version):
        raise ModelRefused(path, "it names no model version", "the next tick writes it anew from the book")
    return found


def load(folder: Path, digest: str | None = None, owner: tuple[str, str] | None = None) -> tuple[Pipeline, Manifest]:
    """The model in ``folder``, checked before, while and after it is unpickled.

    ``digest`` is the SHA-256 that the version must have, and ``owner`` whose it must be (portfolio and version), where
    the caller knows them.

    Raises:
        ModelRefused: whatever was found wrong.
    """
    data, manifest = verified(folder, digest, owner)
    pipeline = _unpickled(folder / MODEL, data)
    _check(folder / MODEL, pipeline, manifest)
    return pipeline, manifest


def verified(folder: Path, digest: str | None = None, owner: tuple[str, str] | None = None) -> tuple[bytes, Manifest]:
    """The pickle in ``folder``, not yet unpickled, and its manifest: the bytes are those that were written.

    Where ``ATTRITION_MODEL_KEY`` is set, they are also by one who knew it.

    Raises:
        ModelRefused: they are not, or they are of another scikit-learn than the one installed.
    """
    path = folder / MODEL
    manifest = read_manifest(folder)
    data = _bytes(path)
    found = sha256(data).hexdigest()
    if len(data) != manifest.bytes or not _same(found, manifest.sha256):
        raise ModelRefused(path, "its bytes are not those of the manifest", "restore the version from a backup")
    if digest is not None and not _same(found, digest):
        raise ModelRefused(path, "it is not the model that was deployed", "restore the version from a backup")
    if owner is not None and (manifest.portfolio, manifest.version) != owner:
        why = f"it is another portfolio's or version's model: {manifest.portfolio}'s {manifest.version}"
        remedy = "give what was renamed its name again, restore the version from a backup, or train anew with --force"
        raise ModelRefused(path, why, remedy)
    if (mac := _mac(manifest.portfolio, manifest.version, found)) and not _same(manifest.mac or "", mac):
        why = "it was not signed with the key of ATTRITION_MODEL_KEY"
        raise ModelRefused(path, why, "train it anew where the key is set, or restore the version from a backup")
    if (trained := manifest.libraries.get("scikit-learn")) != (here := installed("scikit-learn")):
        why = f"it was trained with scikit-learn {trained}, installed is {here}"
        raise ModelRefused(path, why, "install the version of the lock, or run a tick with --force to train anew")
    return data, manifest


def frame(rows: Sequence[Mapping[str, Any]], manifest: Manifest) -> pd.DataFrame:
    """Rows as a table of the model's features, shape (n, features), each value as it is given, None where missing."""
    import pandas as pd

    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in manifest.features})


def _mac(portfolio: str, version: str, digest: str) -> str | None:
    """What signs a model: HMAC-SHA256 of whose it is and its digest; None without a key."""
    key = secret.read(KEY)
    return hmac.digest(key.encode(), f"{portfolio}\n{version}\n{digest}".encode(), "sha256").hex() if key else None


def _same(found: str, expected: str) -> bool:
    return hmac.compare_digest(found.encode(), expected.encode())


def _unpickled(path: Path, data: bytes) -> Pipeline:
    from sklearn.pipeline import Pipeline

    try:
        pipeline = pickles.load(data)
    except Exception as error:  # a pickle that was made up may raise anything
        why = str(error) if isinstance(error, pickle.UnpicklingError) else f"reading it raised {type(error).__name__}"
        raise ModelRefused(
            path, f"its pickle is refused: {why}", "train it anew; use no model from elsewhere"
        ) from None
    if type(pipeline) is not Pipeline:
        raise ModelRefused(path, "it is not a scikit-learn pipeline", "train it anew")
    return pipeline


def _check(path: Path, pipeline: Pipeline, manifest: Manifest) -> None:
    """Raise ModelRefused unless the pipeline takes the manifest's features and scores its golden rows as noted."""
    from attrition.model import probabilities

    remedy = "restore the version from a backup, or train anew"
    if sorted(getattr(pipeline, "feature_names_in_", ())) != sorted(manifest.features):
        raise ModelRefused(path, "its features are not those of the manifest", remedy)
    if manifest.golden is None:
        return
    try:
        scores = probabilities(pipeline, frame(manifest.golden.rows, manifest)).tolist()
        pairs = [*zip(scores, manifest.golden.probabilities, strict=True)]
    except Exception as error:  # whatever it is, this model cannot score
        raise ModelRefused(path, f"scoring its golden rows raised {type(error).__name__}", remedy) from None
    if not all(abs(score - noted) <= AGREEMENT for score, noted in pairs):
        raise ModelRefused(path, "it does not score its golden rows as it did at training", remedy)


def _bytes(path: Path) -> bytes:
    try:
        if safe.exists(path) and not safe.is_file(path):
            raise ModelRefused(path, "it is no file", "restore it from a backup")  # to open a pipe would wait for ever
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ModelRefused(path, f"it cannot be read: {error.strerror}", "restore it from a backup") from None
    except OSError as error:
        raise ModelUnreadable(path, error) from None
    if len(data) > LARGEST:
        raise ModelRefused(path, f"it is larger than {LARGEST} bytes", "no model that attrition trains is: train anew")
    return data


def _decoded(path: Path, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(_bytes(path), type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        why = f"it is not what it should be: {error}"[:200]
        raise ModelRefused(path, why, "restore it from a backup, or run a tick to write it anew") from None


def _document(content: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
