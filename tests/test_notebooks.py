"""The form of a stage notebook, cell by cell, and that each runs by itself on the committed sample."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest
from pipeline_kit import BARE, environment, kept_ready, tree

import runner
from attrition import kernels, record
from attrition.home import REPOSITORY
from attrition.signals import Stop
from attrition.stages import SAMPLE

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
MOST_LINES = 20
MOST_NAMES = 2


def loaded(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def left(notebook):
    """Names that the cells record."""
    return {name for cell in code(notebook) for name in re.findall(r'record\.leave\("(\w+)"', cell.source)}


def is_bare(notebook):
    for cell in code(notebook):
        if cell.outputs:
            yield f"cell {cell.id}: has outputs: clear them, or let git do it: make hooks"
        if cell.execution_count is not None:
            yield f"cell {cell.id}: has a count of execution: clear it, or let git do it: make hooks"


def has_the_kernel_of_every_installation(notebook):
    if (name := notebook.metadata.kernelspec.name) != "python3":
        yield f"the kernel is {name}, not python3"


def opens_with_its_purpose(notebook):
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \w+\n\n\S", first.source):
        yield f"cell {first.id}: a heading, then the purpose"
    for word in ("Reads", "Writes", "Records"):
        if f"**{word}**" not in first.source:
            yield f"cell {first.id}: does not say what it **{word}**"
    said = set(re.findall(r"`(\w+)`", first.source.partition("**Records**")[2]))
    if said != left(notebook):
        yield f"cell {first.id}: says that it records {', '.join(said)}, but leaves {', '.join(sorted(left(notebook)))}"


def ends_with_what_comes_next(notebook):
    if not (last := notebook.cells[-1]).source.startswith("**Next:**"):
        yield f"cell {last.id}: the last one begins with **Next:**, what to look at"


def explains_its_parameters(notebook):
    cell = code(notebook)[0]
    tagged = [each.id for each in notebook.cells if "parameters" in each.metadata.get("tags", ())]
    if tagged != [cell.id]:
        yield f"cell {cell.id}: the first code cell has the tag parameters, and only it"
    for number, line in enumerate(cell.source.splitlines(), 1):
        if not re.fullmatch(r"\w+: \w+ = .+  # \S.*", line):
            yield f"cell {cell.id}: line {number}: expected name: type = default  # why"
            return
    for node in ast.parse(cell.source).body:
        if type(ast.literal_eval(node.value)).__name__ != node.annotation.id:
            yield f"cell {cell.id}: {node.target.id} is no {node.annotation.id}"


def imports_in_one_cell(notebook):
    here = code(notebook)[1].id
    for cell in code(notebook):
        imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(cell.source)))
        if imports and cell.id != here:
            yield f"cell {cell.id}: imports; they stand in cell {here}, right after the parameters"


def is_short_and_explained(notebook):
    row = 0
    for number, cell in enumerate(notebook.cells):
        row = row + 1 if cell.cell_type == "code" and number > 2 else 0
        if cell.cell_type == "code" and (lines := len(cell.source.splitlines())) > MOST_LINES:
            yield f"cell {cell.id}: {lines} lines, at most {MOST_LINES}: the package wants them"
        if row == 3:
            yield f"cell {cell.id}: the third code cell in a row: say what they show"


def defines_next_to_nothing(notebook):
    defined = 0
    for cell in code(notebook):
        kinds = ast.FunctionDef | ast.ClassDef
        defined += sum(isinstance(node, kinds) for node in ast.walk(ast.parse(cell.source)))
        if defined > MOST_NAMES:
            yield f"cell {cell.id}: defines {defined} names, at most {MOST_NAMES} a notebook: the package computes"
            return


RULES = (
    is_bare,
    has_the_kernel_of_every_installation,
    opens_with_its_purpose,
    ends_with_what_comes_next,
    explains_its_parameters,
    imports_in_one_cell,
    is_short_and_explained,
    defines_next_to_nothing,
)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_every_stage_of_the_runner_has_its_notebook():
    assert [path.name for path in NOTEBOOKS] == list(runner.STAGES.values())
    assert [path.stem.partition("_")[2] for path in NOTEBOOKS] == list(runner.STAGES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_it_keeps_the_rules_of_a_stage(path, rule):
    assert [f"{path.name}, {fault}" for fault in rule(loaded(path))] == []


def _source(cell, text):
    cell.source = text


BREACHES = {
    "cell 80-04: has outputs: clear them": lambda cells: cells[4].outputs.append(nbformat.v4.new_output("stream")),
    "cell 80-04: has a count of execution: clear it": lambda cells: cells[4].update(execution_count=3),
    "cell 80-00: a heading, then the purpose": lambda cells: _source(cells[0], "Report"),
    "cell 80-00: says that it records nonsense, but leaves answer, answers": lambda cells: _source(
        cells[0], "# Report\n\nSays all. **Reads** x **Writes** y **Records** `nonsense`."
    ),
    "cell 80-13: the last one begins with **Next:**": lambda cells: _source(cells[-1], "The end."),
    "cell 80-01: the first code cell has the tag parameters, and only it": lambda cells: cells[1].metadata.clear(),
    "cell 80-01: line 2: expected name: type = default  # why": lambda cells: _source(
        cells[1], 'a: str = ""  # b\nc = 1'
    ),
    "cell 80-01: n is no str": lambda cells: _source(cells[1], "n: str = 1  # a number"),
    "cell 80-04: imports; they stand in cell 80-02": lambda cells: _source(cells[4], "import os"),
    "cell 80-04: 21 lines, at most 20": lambda cells: _source(cells[4], "1\n" * 21),
    "cell 80-06: the third code cell in a row": lambda cells: cells.__setitem__(5, nbformat.v4.new_code_cell("1")),
    "cell 80-04: defines 3 names, at most 2": lambda cells: _source(
        cells[4], "\n".join(f"def f{number}():\n    pass" for number in range(3))
    ),
    "the kernel is mine, not python3": None,
}


@pytest.mark.parametrize("said", BREACHES)
def test_a_breach_is_told_by_cell_and_rule(said):
    notebook = loaded(NOTEBOOKS[-1])
    if BREACHES[said]:
        BREACHES[said](notebook.cells)
    else:
        notebook.metadata.kernelspec.name = "mine"
    found = [fault for rule in RULES for fault in rule(notebook)]
    assert any(said in fault for fault in found), found


def by_the_runners_engine(path, output):
    with kept_ready(print) as forked:
        kernels.execute(path, output, {}, forks=forked, deadline=kernels.Deadline(300, "took too long"), stop=Stop())


def by_papermills_command(path, output):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3", str(path), str(output)]
    done = subprocess.run(command, cwd=output.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("path", "execute"),
    # The command costs ten times as much: it starts an ordinary kernel. One is enough, with all that a page draws.
    [*((path, by_the_runners_engine) for path in NOTEBOOKS), (NOTEBOOKS[-1], by_papermills_command)],
    ids=[*(path.stem for path in NOTEBOOKS), "by papermill's command"],
)
def test_it_runs_by_itself_on_the_sample_and_touches_nothing(path, execute, tmp_path):
    before = tree(SAMPLE)
    output = tmp_path / path.name
    with environment(**BARE, HOME=str(tmp_path), TMPDIR=str(tmp_path)):
        execute(path, output)
    assert set(record.read(output)) == left(loaded(path))
    assert tree(SAMPLE) == before
    scratch = [folder for folder in tmp_path.iterdir() if folder.name.startswith("attrition-notebook-")]
    assert len(scratch) == 1, "a stage without a staging folder works in a scratch folder"
    pictures = [
        (output_.data["image/png"], output_.metadata.get("image/png", {}).get("alt"))
        for cell in code(loaded(output))
        for output_ in cell.outputs
        if "image/png" in output_.get("data", {})
    ]
    assert all(alt for _, alt in pictures), "every picture has a text for those who cannot see it"
