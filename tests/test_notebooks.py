"""The form of a stage notebook, cell by cell, and that each runs by itself on the committed sample."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest
from pipeline_kit import BARE, tree

import runner
from attrition import record
from attrition.home import REPOSITORY
from attrition.stages import SAMPLE

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
MOST_LINES = 20


def loaded(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def left(notebook):
    """Names that the cells record."""
    return {name for cell in code(notebook) for name in re.findall(r'record\.leave\("(\w+)"', cell.source)}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_every_stage_of_the_runner_has_its_notebook():
    assert [path.name for path in NOTEBOOKS] == list(runner.STAGES.values())
    assert [path.stem.partition("_")[2] for path in NOTEBOOKS] == list(runner.STAGES)


def test_it_is_committed_without_outputs(path):
    for number, cell in enumerate(code(loaded(path))):
        assert not cell.outputs, f"{path.name}, code cell {number} has outputs: clear them"
        assert cell.execution_count is None, f"{path.name}, code cell {number} has a count: clear it"


def test_it_names_the_kernel_that_every_installation_has(path):
    assert loaded(path).metadata.kernelspec.name == "python3"


def test_it_opens_with_its_purpose_and_says_what_it_reads_writes_and_records(path):
    first = loaded(path).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \w+\n\n\S", first.source), f"{path.name}: a heading, then the purpose"
    assert all(f"**{word}**" in first.source for word in ("Reads", "Writes", "Records"))
    said = set(re.findall(r"`(\w+)`", first.source.partition("**Records**")[2]))
    assert said == left(loaded(path)), f"{path.name}: what it says that it records is not what it records"


def test_it_ends_with_what_to_look_at_next(path):
    assert loaded(path).cells[-1].source.startswith("**Next:**")


def test_its_parameters_are_typed_and_explained(path):
    cell = code(loaded(path))[0]
    assert cell.metadata.tags == ["parameters"], f"{path.name}: the first code cell has the tag parameters, and only it"
    assert sum("parameters" in cell.metadata.get("tags", ()) for cell in loaded(path).cells) == 1
    for line in cell.source.splitlines():
        assert re.fullmatch(r"\w+: \w+ = .+  # \S.*", line), (
            f"{path.name}: {line}: expected name: type = default  # why"
        )
    for node in ast.parse(cell.source).body:
        assert type(ast.literal_eval(node.value)).__name__ == node.annotation.id


def test_it_imports_in_one_cell(path):
    importing = [
        number
        for number, cell in enumerate(code(loaded(path)))
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(cell.source)))
    ]
    assert importing == [1], f"{path.name}: imports stand in code cell 1, right after the parameters"


def test_its_cells_are_short_and_none_is_left_unexplained(path):
    cells = loaded(path).cells
    for number, cell in enumerate(cells):
        if cell.cell_type == "code":
            lines = len(cell.source.splitlines())
            assert lines <= MOST_LINES, f"{path.name}, cell {number}: {lines} lines; the package wants them"
    runs = "".join("c" if cell.cell_type == "code" else "m" for cell in cells[3:])
    assert "ccc" not in runs, f"{path.name}: three code cells in a row; say what they show"


def test_it_defines_next_to_nothing(path):
    defined = [
        node.name
        for cell in code(loaded(path))
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    assert len(defined) <= 2, f"{path.name} defines {defined}: the package computes, a notebook narrates"


def test_it_runs_by_itself_on_the_sample_and_touches_nothing(path, tmp_path):
    before = tree(SAMPLE)
    output = tmp_path / path.name
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3", str(path), str(output)]
    environment = {**BARE, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(record.read(output)) == left(loaded(path))
    assert tree(SAMPLE) == before
    scratch = [folder for folder in tmp_path.iterdir() if folder.name.startswith("attrition-sample-")]
    assert len(scratch) == 1, "a stage without a staging folder works in a scratch folder"
    pictures = [
        (output_.data["image/png"], output_.metadata.get("image/png", {}).get("alt"))
        for cell in code(loaded(output))
        for output_ in cell.outputs
        if "image/png" in output_.get("data", {})
    ]
    assert all(alt for _, alt in pictures), "every picture has a text for those who cannot see it"
