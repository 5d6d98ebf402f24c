"""What tries the tests tells those that bite from those that do not; and the list of exceptions holds nothing else."""

import json
import subprocess
import sys

import pytest

from attrition.home import REPOSITORY
from campaign import mutants
from campaign.mutations import mutants as of

TOY = '''
import time

MOST = 3


def least(one, other):
    """The smaller one."""
    if one < other:
        return one
    return other


def count(to):
    at = 0
    while at < to:
        at += 1
    return at


def untested(one):
    return one + 1
'''
TESTS = """
import toy


def test_least():
    assert toy.least(1, 2) == 1
    assert toy.least(2, 1) == 1


def test_count():
    assert toy.count(toy.MOST) == 3
"""
TRY = """
import json, sys
from pathlib import Path
from campaign import mutants
from campaign.mutations import mutants as of

mutants.PATIENCE = 5.0
root, room = Path(sys.argv[1]), mutants.Room(("toy.py",), ("test_toy.py",))
found = mutants.survey(root, room)
print(json.dumps({each.name: mutants.tried(root, "toy.py", each, found) for each in of("toy.py", room_source)}))
""".replace("room_source", '(root / "toy.py").read_text()')


def test_what_a_test_holds_fast_is_noticed_and_what_none_does_survives(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-c", TRY, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    noticed = {name.removeprefix("toy.py "): seen for name, seen in json.loads(done.stdout).items()}
    assert noticed == {
        "module: 3 → 4": True,
        "least: one < other → one <= other": False,  # the same: nothing can tell
        "least: return one → return None": True,
        "least: return other → return None": True,
        "count: 0 → 1": False,  # it counts up to 3 all the same
        "count: at < to → at <= to": True,
        "count: at += 1 → at -= 1": True,  # hangs
        "count: 1 → 2": True,
        "count: return at → return None": True,
        "untested: return one + 1 → return None": False,
        "untested: one + 1 → one - 1": False,
        "untested: one + 1 → one + 2": False,
    }
    assert (tmp_path / "toy.py").read_text() == TOY


def test_a_sync_that_is_left_out_is_noticed():
    command = [sys.executable, "-m", "campaign.mutants", "safe", "--only", "py move: sync"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("safe: 2 of 2 killed, 100%"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("if a and not b:\n    f(c=1)", {"if a or not b", "if a and b", "pass", "f()", "f(c=2)"}),
        ("x = a <= b != c", {"x = a < b != c", "x = a <= b == c"}),
        ("with f():\n    g()", {"g()", "pass"}),
        ("def f():\n    raise ValueError(1 + 2)", {"pass"}),
        ("x = kind in ('a', 'b')", {"kind not in ('a', 'b')", "kind in ('ax', 'b')", "kind in ('a', 'bx')"}),
        ("q = 'SELECT a FROM t WHERE b < ? ORDER BY c DESC'", {"b <= ? ORDER BY c DESC", "b < ? ORDER BY c ASC"}),
        ("q = 'UPDATE t SET a = 1 WHERE b = ?'", {"SET a = 1 WHERE b <> ?"}),
        ("x: int | None = yes if some else no", {"yes if not some else no"}),
        ("__all__ = ['a' + 'b']\nx = root / 'a'\ny = f'{x:>9}'", set()),
    ],
)
def test_a_change_is_small_and_no_wording(source, changed):
    found = [each.source for each in of("a.py", source)]
    assert len(found) == len(set(found)) == len(changed)
    assert all(any(part in each for each in found) for part in changed)


def test_the_equivalents_are_mutants_of_today_each_with_its_reason():
    files = [file for room in mutants.ROOMS.values() for file in room.files]
    known = {each.name for file in files for each in of(file, (REPOSITORY / file).read_text())}
    listed = mutants.equivalents()
    assert set(listed) <= known
    assert all(len(why) > 20 for why in listed.values())
    assert len(listed) <= 0.05 * len(known)


def test_each_room_has_its_files_and_tests():
    for room in mutants.ROOMS.values():
        for path in (*room.files, *room.tests):
            assert (REPOSITORY / path).exists()
        for test in room.slow:
            file, name = test.split("::")
            assert f"def {name}(" in (REPOSITORY / file).read_text()
