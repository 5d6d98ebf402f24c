"""The documentation does what it says: every shell command in it is executed, every link leads somewhere.

A block of ``sh`` that cannot be executed here has its reason on the line before: ``<!-- not executed: why -->``.
One that may find something to complain of says so: ``<!-- may end with 1: why -->``. One that serves until it is
stopped is marked ``<!-- served -->``. In what is executed port 8000 is a free one, and NAME is the portfolio that the
five-minute start made.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from conftest import require
from pipeline_kit import here

from attrition.commands import VERBS
from attrition.generator import stream, write_drop
from attrition.home import REPOSITORY, Home

START = REPOSITORY / "docs" / "start.md"
TOP = [REPOSITORY / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")]
PAGES = [*TOP, *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<kind>[^\n]*)\n(?P<code>.*?)^```$", re.M | re.S)
FRESH = ("runner.py", "api.py", "attrition", "notebooks", "tests", "Makefile", "requirements.txt", "pyproject.toml")
CRONTAB = """#!/bin/sh
# A crontab of its own for the test: that of whoever runs the tests is not touched.
case "$1" in
-l) cat "$HOME/crontab" 2>/dev/null || { echo "no crontab for you" >&2; exit 1; };;
*) cat > "$HOME/crontab";;
esac
"""


@dataclass(frozen=True)
class Block:
    """Shell commands of a page, and what stands above them."""

    code: str
    mark: str

    @property
    def reason(self):
        return self.mark.removeprefix("not executed: ") if self.mark.startswith("not executed:") else ""


def blocks(page):
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["code"], each["mark"] or "") for each in found if each["kind"] == "sh"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout with an empty home, in which the five-minute start was followed word for word."""
    for tool in ("bash", "curl", "openssl", "make"):
        require(shutil.which(tool) is not None, f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("checkout")
    for name in FRESH:
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copytree(REPOSITORY / "params", folder / "params")
    for made in ("user", "tools"):
        (folder / made).mkdir()
    (folder / "tools" / "crontab").write_text(CRONTAB)
    (folder / "tools" / "crontab").chmod(0o755)
    clients = stream("none", seed=3, change=0, start=date(2026, 1, 5))
    write_drop(clients.tick(0, 700), folder / "clients.csv")
    write_drop(clients.tick(1, 20).drop(columns="churned"), folder / "new.csv")
    followed(folder, START)
    shutil.copy(folder / "user" / "crontab", folder / "after-the-start")
    return folder


def followed(folder, page):
    """Execute a page's commands in order; what they are marked to serve is stopped at its end."""
    with ExitStack() as served:
        for block in blocks(page):
            if block.reason:
                continue
            if block.mark == "served":
                served.enter_context(serving(folder, block.code))
                continue
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", said(block.code)],
                cwd=folder,
                env=environment(folder),
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            fine = {0, 1} if block.mark.startswith("may end with 1:") else {0}
            assert done.returncode in fine, f"{page.name}: {block.code}\n{done.stdout}\n{done.stderr}"


def environment(folder):
    path = f"{folder / 'tools'}:{Path(sys.prefix) / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    own = {"HOME": str(folder / "user"), "PATH": path, "ATTRITION_HOME": str(folder), "PIP_NO_INDEX": "1"}
    return {"LANG": "C.UTF-8", **own}


def said(code):
    """A block as it is executed: an answer that is an error fails it, and a placeholder stands for something."""
    code = code.replace("curl -s ", "curl -sS --fail-with-body ").replace("risk.example:8000", f"127.0.0.1:{PORT}")
    code = re.sub(r"(localhost|127\.0\.0\.1):8000", rf"127.0.0.1:{PORT}", code)
    code = re.sub(r"api\.py", f"api.py --port {PORT}", code)
    return re.sub(r"\bNAME\b", "clients", code)


def _free():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


PORT = _free()


@contextmanager
def serving(folder, code):
    """What a block starts, until it answers and while the rest of the page is followed."""
    command = ["bash", "-c", f"exec env {said(code).strip()}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=folder, env=environment(folder), **quiet) as server:
        try:
            while not _answers():
                with pytest.raises(subprocess.TimeoutExpired):  # it has not ended
                    server.wait(0.05)
            yield
        finally:
            server.terminate()


def _answers():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/livez", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.mark.parametrize("page", [each for each in PAGES if each != START and blocks(each)], ids=lambda page: page.stem)
def test_every_command_of_the_documentation_is_executed(checkout, page):
    followed(checkout, page)


def test_the_five_minute_start_ends_with_a_ranked_list(checkout):
    assert (checkout / "params" / "clients.yaml").exists()
    assert (checkout / "data" / "clients" / "ranking.parquet").exists()
    assert "tick --all" in (checkout / "after-the-start").read_text()


def test_a_command_that_is_not_executed_has_a_reason():
    marks = [block.mark for page in PAGES for block in blocks(page) if block.mark]
    good = r"served|(not executed|may end with 1): \S.{10,}|[^:]*"
    assert [mark for mark in marks if not re.fullmatch(good, mark)] == []
    assert sum(bool(block.reason) for page in PAGES for block in blocks(page)) <= 10  # an exception stays one


def test_the_command_line_s_page_has_every_verb_and_no_other():
    text = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^python runner\.py ([a-z-]+)", text, re.M)) == {*VERBS, "tick"}


@pytest.mark.parametrize("verb", ["tick", *VERBS])
def test_every_option_that_is_documented_exists(verb, tmp_path):
    text = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith(f"python runner.py {verb} ")]
    named = {option for line in lines for option in re.findall(r"--[a-z]+", line.partition("   ")[0])}
    known = here(Home(tmp_path), verb, "--help")
    assert known.returncode == 0
    assert [option for option in sorted(named) if option not in known.stdout] == []


@pytest.mark.parametrize("page", TOP, ids=lambda page: page.stem)
def test_links_of_the_top_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (REPOSITORY / link).exists()] == []


def test_the_site_is_built_without_a_link_that_leads_nowhere(tmp_path):
    built = subprocess.run([sys.executable, "-c", "import furo, myst_parser, sphinx"], capture_output=True, check=False)
    require(built.returncode == 0, "the site's generator is not installed: make .venv/docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "start.html").exists()
