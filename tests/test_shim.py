"""The campaign's preloaded library sees each step that the system's own tracer sees, whoever makes it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter

from conftest import require

from attrition.home import REPOSITORY
from campaign import shim
from campaign.shim import LOADED

# A tick, what it changed by kind, and how often it read, or asked about a path; the looks at two names that are not
# there tell when.
TICK = """
import json, os, sys
from collections import Counter
from pathlib import Path
from campaign import kit, shim
from campaign.shim import Fault, Kind, Mode
root, log = Path(sys.argv[1]), Path(sys.argv[2])
place = kit.home(root)
kit.first_visit(place)
handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.path.lexists("/begun")
shim.arm(root, Fault(Mode.NOTE, kinds=(Kind.READ, Kind.ASK)), handle)
status = kit.tick(place)
looks = shim.steps()
shim.disarm()
os.path.lexists("/over")
counts = Counter(step.kind.name for step in shim.read(log))
print(json.dumps([status, {**counts, "LOOK": looks}]), flush=True)
os._exit(0)
"""
CALLS = {
    **{"write": "WRITE", "pwrite64": "WRITE", "writev": "WRITE", "pwritev": "WRITE"},
    **{"rename": "RENAME", "renameat": "RENAME", "renameat2": "RENAME", "link": "LINK", "linkat": "LINK"},
    **{"unlink": "UNLINK", "rmdir": "RMDIR", "mkdir": "MKDIR", "mkdirat": "MKDIR"},
    **{"fsync": "SYNC", "fdatasync": "SYNC", "sync_file_range": "SYNC", "syncfs": "SYNC"},
    **{"read": "LOOK", "pread64": "LOOK", "readv": "LOOK", "preadv": "LOOK"},
    # These the library refuses, or does not know: a tick must do without.
    **dict.fromkeys(("copy_file_range", "sendfile", "fallocate", "truncate", "openat2"), "UNSEEN"),
}
ASKS = ("stat", "lstat", "newfstatat", "statx", "access", "faccessat")


def traced(folder, root):
    """What the tracer saw done below ``root`` between the two looks, by kind; it wrote a file a thread."""
    done = re.compile(r"^([\d.]+) (\w+)\((.*)\) += (-?\d+)")
    texts = [path.read_text(errors="replace") for path in folder.iterdir()]
    own = [text for text in texts if "execve(" not in text or '"/begun"' in text]  # none of the programs it starts
    lines = [match.groups() for match in map(done.match, "\n".join(own).splitlines()) if match]
    begun, over = (next(at for at, _, words, _ in lines if f'"/{name}"' in words) for name in ("begun", "over"))
    found = Counter()
    for _, call, words, result in (line for line in lines if float(begun) <= float(line[0]) <= float(over)):
        if not re.search(f'{root}[/>"]', words):
            continue
        if call in ASKS:
            found["LOOK"] += '""' not in words  # which is about a handle
        elif int(result) < 0:
            continue
        elif call == "unlinkat":
            found["RMDIR" if "AT_REMOVEDIR" in words else "UNLINK"] += 1
        elif call in CALLS:
            found[CALLS[call]] += 1
    return found


def test_the_library_sees_what_the_tracer_sees(tmp_path):
    require(not shim.available(), shim.available())
    require(shutil.which("strace") is not None, "no strace (Debian: strace)")
    trace, root = tmp_path / "trace", tmp_path / "home"
    trace.mkdir()
    loaded = {"LD_PRELOAD": str(shim.build()), LOADED: "1", "OMP_NUM_THREADS": "1"}
    command = ["strace", "-ff", "-y", "-ttt", "-qq", "-s", "0", "-e", "signal=none", "-o", str(trace / "thread")]
    command += ["-e", "trace=" + ",".join(f"?{call}" for call in (*CALLS, "unlinkat", "execve", *ASKS))]
    command += [*(f"-E{name}={value}" for name, value in loaded.items()), sys.executable, "-c", TICK]
    done = subprocess.run(
        [*command, str(root), str(tmp_path / "log")],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    require("ptrace" not in done.stderr, f"this machine lets nobody be traced: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr[-3000:]
    status, seen = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stdout
    found = traced(trace, root)
    kinds = ("WRITE", "RENAME", "LINK", "UNLINK", "RMDIR", "MKDIR", "SYNC", "LOOK", "UNSEEN")
    assert {kind: seen.get(kind, 0) for kind in kinds} == {kind: found[kind] for kind in kinds}
    assert min(seen["WRITE"], seen["RENAME"], seen["SYNC"], seen["MKDIR"], seen["LOOK"]) > 10
