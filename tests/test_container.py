"""The container's files: what they copy is there, what they install is the lock, what they start exists."""

import re
import tomllib

import yaml

from attrition.home import REPOSITORY

CONTAINER = (REPOSITORY / "Containerfile").read_text()
SCRIPTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]


def steps(word):
    return re.findall(rf"^{word} (.+)$", CONTAINER, re.M)


def test_every_library_is_installed_by_the_hash_of_the_lock():
    installs = [step for step in steps("RUN") if "pip install" in step]
    assert len(installs) == 2
    lock, own = installs
    assert "--require-hashes -r requirements.txt" in lock
    assert {"--no-deps", "--no-index", "--no-build-isolation"} <= set(own.split())
    assert not re.search(r"apt-get|curl|wget|https?://", CONTAINER)


def test_what_is_copied_is_there_and_is_not_ignored():
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {part for step in steps("COPY") if "--from" not in step for part in step.split()[:-1]}
    assert copied == kept
    assert all((REPOSITORY / name).exists() for name in copied)


def test_what_the_wheel_needs_is_copied():
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {part for step in steps("COPY") for part in step.split()[:-1]}
    assert {*build["include"], *build["force-include"]} <= copied


def test_services_share_a_home_which_the_api_cannot_write_and_start_our_scripts():
    services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
    runner, api = services["runner"], services["api"]
    assert runner["build"]["dockerfile"] == "Containerfile"
    assert runner["image"] == api["image"]
    assert api["volumes"] == [f"{runner['volumes'][0]}:ro"]
    assert api["command"][0] in SCRIPTS
    assert re.search(r"do ([\w-]+) tick --all;", runner["command"][2])[1] in SCRIPTS
    assert api["ports"] == ["127.0.0.1:8000:8000"]  # no TLS: nobody but this machine
    assert "${ATTRITION_TOKEN:?" in runner["environment"]["ATTRITION_TOKEN"]
    assert not re.search("ATTRITION_TOKEN: [0-9a-f]", (REPOSITORY / "compose.yaml").read_text())
