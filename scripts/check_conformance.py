"""Rewrites every valid conformance case as container 0.2 and 0.1 and has Python say whether the copies hold the same.

    python scripts/check_conformance.py REWRITE_PROGRAM CONFORMANCE_FOLDER WORK_FOLDER

REWRITE_PROGRAM is the built example `rewrite`; CONFORMANCE_FOLDER holds `cases.tar.gz` and `check_written.py`.
Prints one line per copy that is not accepted, with its errors, and the count: N of N.
"""

import contextlib
import io
import json
import re
import subprocess
import sys
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

CONTAINERS = ("0.2", "0.1")


def check(job):
    """The problems of one case rewritten as one container, or `None`."""
    rewrite, conformance, case, container, work = job
    name = f"{case.name} as {container}"
    store = next(path for path in case.iterdir() if path.suffix == ".zarr")
    copy = work / f"{case.name}_{container}.zarr"
    written = subprocess.run([rewrite, store, copy, container], capture_output=True, text=True)
    if written.returncode != 0:
        return f"{name}: not rewritten: {written.stdout}{written.stderr}"
    expected = json.loads((case / "expected.json").read_text())
    if "_optional" in case.name:
        # Codecs of the optional tier may be refused, but never misread.
        for kind, element in re.findall(r"^left out: (\w+)/(\S+) .*cannot be decoded", written.stdout, re.MULTILINE):
            del expected[kind][element]
        elements = [e for kind in ("images", "labels") for e in expected[kind].values()]
        expected["coordinate_systems"] = sorted({system for e in elements for system in e["transforms"]})
    elif written.stdout:
        return f"{name}: {written.stdout}"
    described = work / f"{case.name}_{container}.json"
    described.write_text(json.dumps(expected))
    sys.path.insert(0, str(conformance))
    import check_written

    sys.argv = ["check_written.py", str(copy), str(described), "--container", container]
    said = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        try:
            check_written.main()
        except SystemExit as end:
            code = end.code
    return None if code == 0 else f"{name}: {said.getvalue()}"


def main():
    rewrite, conformance, work = (Path(argument).resolve() for argument in sys.argv[1:])
    cases = work / "cases"
    cases.mkdir(parents=True)
    with tarfile.open(conformance / "cases.tar.gz") as archive:
        archive.extractall(cases, filter="data")
    valid = sorted(path for path in cases.glob("*/valid/*") if path.is_dir())
    jobs = [(rewrite, conformance, case, container, work) for case in valid for container in CONTAINERS]
    # A process each reads the Python packages once.
    with ProcessPoolExecutor(2) as pool:
        problems = [problem for problem in pool.map(check, jobs) if problem is not None]
    for problem in problems:
        print(problem)
    print(f"rewritten stores: {len(jobs) - len(problems)} of {len(jobs)} accepted by Python")
    sys.exit(1 if problems or not jobs else 0)


if __name__ == "__main__":
    main()
