"""Make the committed sample home (``make sample``): two real ticks on 500 telecom clients, cut down to what
a stage reads when it is run by itself.

The model is a pickle of the locked scikit-learn, so this is run again when the lock moves on.
"""

import os
import re
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import nbformat

from attrition import record
from attrition.console import DONE
from attrition.home import REPOSITORY, Home
from attrition.wishes import Wish
from runner import tick

SAMPLE = REPOSITORY / "tests" / "data" / "home"
LINES = (REPOSITORY / "tests" / "data" / "telco_sample.csv").read_text().splitlines(keepends=True)
TICKS = (datetime(2026, 1, 5, 3, 15, tzinfo=UTC), datetime(2026, 1, 6, 3, 15, tzinfo=UTC))
# 500 clients are too few for a claim by the usual rules: here a notebook opened by itself is to show one.
CLAIMS = "model: {learning_rows: 100}\nrules: {reference_rows: 40, reference_each: 10}\n"
HEADER, FIRST, SECOND, TEST = LINES[0], LINES[1:251], LINES[251:451], LINES[451:501]


def main() -> None:
    os.environ["PIP_NO_INDEX"] = "1"  # a sample says the same wherever it is made
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        place = home.place("sample")
        for made in (place.params.parent, place.incoming, place.test):
            made.mkdir(parents=True)
        yaml = (REPOSITORY / "params" / "telco.yaml").read_text().replace("Telecom clients\n", "Telecom sample\n")
        place.params.write_text(yaml + CLAIMS)
        (place.test / "test.csv").write_text(HEADER + "".join(TEST))
        for number, (moment, lines) in enumerate(zip(TICKS, (FIRST, SECOND), strict=True), 1):
            drop = place.incoming / f"clients-{number}.csv"
            drop.write_text(HEADER + "".join(lines))
            drop.with_name(f"{drop.name}.done").touch()
            if tick(home, "sample", wish=Wish(force=number == 2), clock=lambda: moment) != DONE:  # noqa: B023
                raise SystemExit("the sample's tick failed")
        cut_down(place)
        (place.incoming / "clients-2.csv").write_text(HEADER + "".join(SECOND))
        shutil.rmtree(SAMPLE, ignore_errors=True)
        shutil.copytree(home.root, SAMPLE)


def cut_down(place) -> None:
    """Keep the last run with the values it recorded, and nothing that names a folder of this machine."""
    for each in (
        place.lock,
        place.executed.parent / ".cache",
        place.executed.parent / "index.html",
        place.executed.parent / "index.json",
        place.taken,
    ):
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    first, last = sorted(path.parent for path in place.executed.glob("*/run.json"))
    shutil.rmtree(first)
    shutil.rmtree(place.staging)
    shutil.rmtree(place.quarantine, ignore_errors=True)
    shutil.copytree(place.models / "0002", last / "model", dirs_exist_ok=True)
    for pattern in ("*.html", "index.json", "compare.json", "*.parquet", "rows", "quarantine"):
        for path in last.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for made in ("clients", "models"):
        shutil.rmtree(place.executed / made)
    for pattern in ("index.*", "runs-1.*", "card.json", "history.json"):
        for path in place.executed.glob(pattern):
            path.unlink()
    place.call_list.unlink()
    for path in place.data.rglob("_delta_log/*.json"):  # the log says where the table was made
        path.write_text(re.sub(r'"location":"[^"]*"', '"location":""', path.read_text()))
    for path in last.glob("*.ipynb"):
        values = record.read(path)
        outputs = [
            nbformat.v4.new_output(
                "display_data",
                data={record.MIME: {"name": name, "data": data, "encoder": "json", "version": 1}},
                metadata={"scrapbook": {"name": name, "data": True, "display": False}},
            )
            for name, data in values.items()
        ]
        cell = nbformat.v4.new_code_cell("# what this stage recorded", outputs=outputs, id="recorded")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)


if __name__ == "__main__":
    main()
