import errno
import io
import json
import operator
import os
import pickle
import runpy
import shutil
import subprocess
from functools import partial, reduce
from hashlib import sha256
from pathlib import Path

import homes
import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from attrition import model, pickles, registry
from attrition.registry import Current, ModelRefused, ModelUnreadable


@pytest.fixture(scope="module")
def pipeline():
    return model.fit(homes.portfolio(), homes.clients())


@pytest.fixture
def folder(tmp_path, pipeline):
    expected = model.probabilities(pipeline, pd.DataFrame([homes.RECORD])).tolist()
    golden = {"rows": [homes.RECORD], "probabilities": expected}
    registry.write(tmp_path, pipeline, **homes.facts(golden=golden))
    return tmp_path


def change(folder, **keys):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def plant(folder, data):
    """Put a pickle in place of the model, with a manifest that agrees."""
    (folder / "model.pkl").write_bytes(data)
    change(folder, sha256=sha256(data).hexdigest(), bytes=len(data))


def why(folder, digest=None):
    with pytest.raises(ModelRefused) as caught:
        registry.load(folder, digest)
    return caught.value.why


def test_what_was_written_is_loaded(folder, pipeline):
    loaded, manifest = registry.load(folder)
    frame = homes.clients(seed=5)
    assert np.array_equal(model.probabilities(loaded, frame), model.probabilities(pipeline, frame))
    assert manifest == registry.read_manifest(folder)
    assert manifest.bytes == (folder / "model.pkl").stat().st_size
    assert manifest.libraries.keys() == {"python", "scikit-learn", "numpy", "pandas"}


@pytest.mark.parametrize("changes", [{"rows": "60"}, {"sha256": "x"}, {"colour": "red"}, {"run": None}])
def test_a_wrong_fact_is_named(tmp_path, pipeline, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        registry.write(tmp_path, pipeline, **homes.facts(**changes))
    assert not list(tmp_path.iterdir())


def test_a_missing_fact_is_named(tmp_path, pipeline):
    facts = homes.facts()
    del facts["trained_to"]
    with pytest.raises(ValueError, match="trained_to"):
        registry.write(tmp_path, pipeline, **facts)


def test_a_model_of_another_portfolio_or_version_is_refused(folder):
    of, version = registry.read_manifest(folder).portfolio, registry.read_manifest(folder).version
    assert registry.load(folder, None, (of, version))[1].version == version
    for owner in (("another", version), (of, "0999")):
        with pytest.raises(ModelRefused, match=f"another portfolio's or version's model: {of}'s {version}"):
            registry.verified(folder, None, owner)


def test_a_yaml_with_the_features_in_another_order_is_one_that_the_model_fits(folder):
    portfolio, manifest = homes.portfolio(), registry.read_manifest(folder)
    assert msgspec.structs.replace(manifest, features=portfolio.features[::-1]).fits(portfolio) is True
    assert msgspec.structs.replace(manifest, features=portfolio.features[1:]).fits(portfolio) is False


def test_what_the_yaml_asks_otherwise_is_said_of_what_is_known(folder):
    portfolio, manifest = homes.portfolio(), registry.read_manifest(folder)
    now = portfolio.model_copy(update={"as_of": None, "horizon": 30})

    def said(**asks):
        return msgspec.structs.replace(manifest, asks=asks).otherwise(now)

    assert said() == said(**now.asks) == said(id=now.id, forgotten=7) == ""
    assert said(as_of="day", horizon=None) == "as_of is none, and was day and horizon is 30, and was none"


def test_every_flipped_byte_is_refused_before_unpickling(folder):
    data = (folder / "model.pkl").read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        (folder / "model.pkl").write_bytes(flipped)
        assert why(folder) == "its bytes are not those of the manifest"


@pytest.mark.parametrize("cut", [b"", b"\x80"])
def test_a_torn_model_is_refused(folder, cut):
    (folder / "model.pkl").write_bytes(cut)
    assert why(folder) == "its bytes are not those of the manifest"


def test_a_model_other_than_the_deployed_is_refused(folder):
    deployed = registry.read_manifest(folder).sha256
    registry.load(folder, deployed)
    assert why(folder, "0" * 64) == "it is not the model that was deployed"


class Canary:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


CANARIES = {
    "os.mkdir": lambda mark, _: Canary(os.mkdir, mark),
    "os.system": lambda mark, _: Canary(os.system, f"mkdir '{mark}'"),
    "os.symlink": lambda mark, _: Canary(os.symlink, "nowhere", mark),
    "os.mkfifo": lambda mark, _: Canary(os.mkfifo, mark),
    "subprocess": lambda mark, _: Canary(subprocess.call, ["mkdir", mark]),
    "eval": lambda mark, _: Canary(eval, f"__import__('os').mkdir({mark!r})"),
    "exec": lambda mark, _: Canary(exec, f"import os; os.mkdir({mark!r})"),
    "shutil": lambda mark, script: Canary(shutil.copy, script, mark),
    "runpy": lambda _, script: Canary(runpy.run_path, script),
    "pathlib": lambda mark, _: Canary(Path.mkdir, Path(mark)),
    "partial": lambda mark, _: Canary(operator.call, partial(os.mkdir, mark)),
    "numpy": lambda mark, _: Canary(np.savetxt, mark, [1.0]),
    "joblib": lambda mark, _: Canary(joblib.dump, [1], mark),
    "getattr": lambda mark, _: Canary(getattr(os, "mkdir"), mark),  # noqa: B009
    "os.open": lambda mark, _: Canary(os.open, mark, os.O_CREAT),
    "os.link": lambda mark, script: Canary(os.link, script, mark),
    "check_output": lambda mark, _: Canary(subprocess.check_output, ["mkdir", mark]),
    "tofile": lambda mark, _: Canary(np.ndarray.tofile, np.ones(1), mark),
    "reduce": lambda mark, _: Canary(reduce, os.mkdir, [mark, 0o700]),
    "pickle in a pickle": lambda mark, _: Canary(pickle.loads, pickle.dumps(Canary(os.mkdir, mark))),
}


@pytest.mark.parametrize("name", CANARIES)
def test_canaries_do_not_sing_even_with_a_manifest_that_agrees(folder, pipeline, tmp_path_factory, name):
    own = tmp_path_factory.mktemp("canary")
    mark, script = own / "mark", own / "script.py"
    script.write_text(f"import os; os.mkdir({str(mark)!r})")
    data = pickle.dumps(Pipeline([*pipeline.steps, ("canary", CANARIES[name](str(mark), str(script)))]))
    pickle.loads(data)
    assert os.path.lexists(mark), "this canary proves nothing"
    shutil.rmtree(mark) if mark.is_dir() else mark.unlink()
    plant(folder, data)
    assert why(folder).startswith("its pickle is refused: it names ")
    assert not os.path.lexists(mark)


@pytest.mark.parametrize(
    "named", ["numpy\nload", "numpy\nndarray.tofile", "sklearn.pipeline\nos.system", "builtins\ngetattr"]
)
def test_no_name_beside_the_list_is_found(folder, named):
    plant(folder, f"c{named}\n.".encode())
    assert why(folder).startswith("its pickle is refused: it names ")


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x80\x05.", b"(l.", pickle.dumps({"steps": []})])
def test_what_is_no_pipeline_is_refused(folder, data):
    plant(folder, data)
    assert "pickle" in (said := why(folder)) or said == "it is not a scikit-learn pipeline"


def test_another_scikit_learn_is_refused(folder):
    libraries = registry.read_manifest(folder).libraries
    change(folder, libraries={**libraries, "scikit-learn": "0.1"})
    assert why(folder).startswith("it was trained with scikit-learn 0.1, installed is ")


def test_other_features_are_refused(folder):
    change(folder, features=["usage"])
    assert why(folder) == "its features are not those of the manifest"


def test_a_model_without_names_is_refused(folder):
    plant(folder, pickle.dumps(Pipeline([("classifier", LogisticRegression().fit([[0.0], [1.0]], [0, 1]))])))
    assert why(folder) == "its features are not those of the manifest"


@pytest.mark.parametrize("off", [1e-6, -0.5, float("nan")])
def test_golden_rows_must_score_as_noted(folder, off):
    golden = registry.read_manifest(folder).golden
    change(folder, golden={"rows": golden.rows, "probabilities": [golden.probabilities[0] + off]})
    said = why(folder)
    assert "golden rows" in said or "not what it should be" in said


@pytest.mark.parametrize(("rows", "told"), [([{**homes.RECORD, "usage": "much"}], "ValueError"), ([], "ValueError")])
def test_golden_rows_that_cannot_be_scored_refuse_the_model(folder, rows, told):
    change(folder, golden={"rows": rows, "probabilities": [0.5]})
    assert why(folder) == f"scoring its golden rows raised {told}"


def test_a_model_larger_than_any_is_not_read(folder, monkeypatch):
    with (folder / "model.pkl").open("r+b") as file:
        file.truncate(registry.LARGEST + 1)
    assert why(folder) == f"it is larger than {64 * 2**20} bytes"
    monkeypatch.setattr(registry, "LARGEST", (folder / "manifest.json").stat().st_size)
    assert registry.read_manifest(folder).version == "0001"


def test_a_manifest_can_be_read_by_a_person(folder):
    text = (folder / "manifest.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"
    assert json.loads(text)["change_version"] == 0, "where nobody knew of a change"


def test_facts_that_are_changed_later_leave_the_rest_and_the_signature(tmp_path, pipeline, monkeypatch):
    monkeypatch.setenv("ATTRITION_MODEL_KEY", "a key")
    before = registry.write(tmp_path, pipeline, **homes.facts())
    registry.rewrite(tmp_path, not_replayable="forgotten")
    _, after = registry.load(tmp_path)
    assert after == msgspec.structs.replace(before, not_replayable="forgotten")


def test_a_refusal_says_which_file_why_and_what_to_do(folder):
    (folder / "model.pkl").unlink()
    with pytest.raises(ModelRefused) as caught:
        registry.load(folder)
    path = folder / "model.pkl"
    assert str(caught.value) == f"{path}: it cannot be read: No such file or directory; restore it from a backup"


def test_a_file_that_is_there_and_cannot_be_read_says_nothing_of_what_is_in_it(folder):
    path = folder / "model.pkl"
    path.unlink()
    path.symlink_to(path)  # nobody can open it, whoever runs the tests
    with pytest.raises(ModelUnreadable) as caught:
        registry.load(folder)
    why = "it cannot be read: Too many levels of symbolic links"
    assert str(caught.value).startswith(f"{path}: {why}; mend its permissions or the disk, restore it")
    error = caught.value.passing()
    assert (error.errno, error.strerror) == (errno.ELOOP, str(caught.value))


@pytest.mark.parametrize("wrong", ["gone", "a folder", "beside a file"])
def test_a_file_that_is_not_there_is_refused(folder, wrong):
    path = folder / "model.pkl"
    path.unlink()
    if wrong == "a folder":
        path.mkdir()
    if wrong == "beside a file":
        path = folder / "manifest.json" / "model.pkl"
    with pytest.raises(ModelRefused) as caught:
        registry._bytes(path)
    assert not isinstance(caught.value, ModelUnreadable)


def test_rows_become_a_table_of_values_as_they_were_given(folder):
    manifest = msgspec.structs.replace(registry.read_manifest(folder), features=["usage", "plan"])
    table = registry.frame([{"usage": 1, "plan": "plus", "more": 2}, {}], manifest)
    assert table.columns.tolist() == ["usage", "plan"]
    assert table.to_numpy().tolist() == [[1, "plus"], [None, None]]
    assert [type(value) for value in table["usage"]] == [int, type(None)]


@pytest.mark.parametrize("name", ["model.pkl", "manifest.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelRefused, match=name) as caught:
        registry.load(folder)
    assert caught.value.path == folder / name
    assert str(folder) not in caught.value.why + caught.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1}', "\udcff"])
def test_a_broken_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    assert why(folder).startswith("it is not what it should be")


@pytest.mark.parametrize("version", ["", "1", "000", "0001/..", "..", "0001\n", "０００１", "v0001"])
def test_only_digits_become_a_version_path(tmp_path, version):
    with pytest.raises(ValueError, match="no model version"):
        registry.version_path(tmp_path, version)


def test_a_version_has_a_folder_of_its_name(tmp_path):
    assert registry.version_path(tmp_path, "0012") == tmp_path / "0012"


def test_current_is_what_was_set(tmp_path):
    assert registry.current(tmp_path) is None
    wanted = Current("shop", "0007", "0" * 64, homes.FIRST, "2026-01-01T00:00:00Z", proven=True)
    (tmp_path / "current.json").write_bytes(msgspec.json.encode(wanted))
    assert registry.current(tmp_path) == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["current.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "null", '{"portfolio":"shop","version":"../1","sha256":"","run":"","deployed_at":"","proven":true}'],
)
def test_a_broken_current_is_refused(tmp_path, text):
    (tmp_path / "current.json").write_text(text)
    with pytest.raises(ModelRefused):
        registry.current(tmp_path)


def test_no_other_name_is_allowed_than_pipelines_need(pipeline):
    """The list holds nothing that no model of ours asks for."""
    asked = set()

    class Noting(pickle.Unpickler):
        def find_class(self, module, name):
            asked.add((module, name))
            return super().find_class(module, name)

    numbers = homes.portfolio(columns={"usage": {"type": "number"}}, id=None)
    for fitted in (pipeline, model.fit(numbers, homes.clients())):
        Noting(io.BytesIO(pickle.dumps(fitted, protocol=5))).load()
    assert asked == pickles.ALLOWED


def test_a_signed_model_is_wanted_where_there_is_a_key(folder, pipeline, tmp_path, monkeypatch):
    assert registry.read_manifest(folder).mac is None
    monkeypatch.setenv("ATTRITION_MODEL_KEY", "a key")
    assert why(folder) == "it was not signed with the key of ATTRITION_MODEL_KEY"
    signed = tmp_path / "signed"
    manifest = registry.write(signed, pipeline, **homes.facts())
    registry.load(signed)
    for changes in ({"version": "0002"}, {"portfolio": "other"}, {"mac": manifest.mac[::-1]}, {"mac": None}):
        before = (signed / "manifest.json").read_text()
        change(signed, **changes)
        assert "not signed" in why(signed)
        (signed / "manifest.json").write_text(before)
    plant(signed, pickle.dumps(pipeline, protocol=4))
    assert "not signed" in why(signed), "a manifest that agrees is not enough"
    monkeypatch.setenv("ATTRITION_MODEL_KEY", "another key")
    assert "not signed" in why(signed)
