"""What the benchmarks beside Python's packages have in common: how contenders are called, timed and judged."""

import json
import math
import pathlib
import resource
import subprocess
import sys
import time

# CPU seconds after which a task is not done again.
ENOUGH = 2.0
# The exit status when a bar is missed: Python's own is 1 after an error and 2 for a wrong command line.
MISSED = 3


def timed(do):
    """Seconds and CPU seconds of a call, and what came out."""
    begin = time.perf_counter(), time.process_time()
    answer = do()
    return time.perf_counter() - begin[0], time.process_time() - begin[1], answer


def best_of(do):
    """The least seconds and CPU seconds of one call, among calls until two seconds of CPU time have gone."""
    best, spent = (math.inf, math.inf), 0
    while spent < ENOUGH:
        # What came out is not kept: it would count as memory of the next call.
        wall, cpu = timed(do)[:2]
        best = min(best[0], wall), min(best[1], cpu)
        spent += cpu
    return best


def call(command, environment):
    """The last line that a command prints, as JSON; what it complains of is shown when it fails."""
    out = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    if out.returncode != 0:
        sys.stderr.write(out.stderr)
    out.check_returncode()
    return json.loads(out.stdout.splitlines()[-1])


def contest(commands, rounds, environment=None):
    """CPU seconds, seconds and resident megabytes of each contender by name, and what came out in each round.

    They take turns; the least times of the rounds count, and the most memory.
    Whoever compares what came out compares all rounds.
    """
    best = {}
    for _ in range(rounds):
        for name, command in commands.items():
            wall, cpu, answer, resident = call(command, environment)
            old = best.get(name, (cpu, wall, resident, []))
            answers = [*old[3], answer]
            best[name] = min(old[0], cpu), min(old[1], wall), max(old[2], resident), answers
    return best


def judge(verdicts):
    """Prints the verdicts, (met, text) of every bar, and returns the exit status."""
    print("\n```text")
    for met, text in verdicts:
        print(f"{'met' if met else 'missed':7} {text}")
    print("```")
    return 0 if all(met for met, _ in verdicts) else MISSED


def main(work, run):
    """Does what the command line asks for: `work … FILE` in this process, or `run FOLDER WORKER ROUNDS …`, the contest."""
    command, *rest = sys.argv[1:]
    if command == "work":
        *task, file = rest
        result = work(*task, pathlib.Path(file))
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        print(json.dumps([*result, resident]))
    else:
        folder, worker, rounds, *more = rest
        sys.exit(run(pathlib.Path(folder), worker, int(rounds), *map(int, more)))
