"""The wheel: installed beside nothing of the repository, it lays out a home and ticks in it."""

import os
import subprocess
import sys
import zipfile

import pytest
from pipeline_kit import BARE, reports

from attrition.home import REPOSITORY, Home


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where the wheel of this checkout is installed; its libraries are this environment's."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *alone, "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "attrition/parts/notebooks/30_train.ipynb" in names
    assert not [name for name in names if name.startswith(("tests/", "data/", "executed/"))]
    subprocess.run([*pip, "install", *alone, "--target", str(folder / "site"), str(wheel)], check=True, timeout=300)
    return folder / "site"


def attrition(site, folder, *words):
    environment = {**BARE, "PYTHONPATH": str(site), "PATH": os.defpath, "HOME": str(folder)}
    command = [sys.executable, str(site / "bin" / "attrition"), *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_console_script_lays_out_a_home_and_ticks_in_it(site, tmp_path):
    assert "is no home: begin with: attrition new DIR" in attrition(site, tmp_path, "runs", "demo").stderr
    done = attrition(site, tmp_path, "new", "mine")
    assert done.returncode == 0, done.stderr
    home = Home(tmp_path / "mine")
    assert len(list((home.root / "notebooks").glob("*.ipynb"))) == 8
    below = home.root / "params"  # a home is found from within it
    assert attrition(site, below, "simulate").returncode == 0
    (home.root / "notebooks" / "80_report.ipynb").write_text(
        (home.root / "notebooks" / "80_report.ipynb").read_text().replace("# Report", "# Our own report")
    )
    done = attrition(site, below)
    assert done.returncode == 0, done.stdout + done.stderr
    run = reports(home.place("demo"))[-1]
    assert run["decision"] == "promoted"
    assert "Our own report" in (home.place("demo").executed / run["run"] / "80_report.html").read_text()
    assert str(site) in attrition(site, below, "schedule").stdout
    again = attrition(site, tmp_path, "new", "mine")
    assert again.returncode == 2
    assert "is there already" in again.stderr
