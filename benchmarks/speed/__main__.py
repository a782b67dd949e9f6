"""How long fitting and sampling take and how much memory, beside CTGAN, TVAE and SMOTE on the same data in the same run.

    python benchmarks/speed [--quick] [--device cuda] [--groups rows columns ...] [--peers PYTHON] [--adult FOLDER] ...

Every measurement is a fresh process with a time limit; what is in --out already is not measured again (unless it failed, and
--limit is higher now), so that an interrupted run goes on. Afterwards --out holds measurements.jsonl, machine.json, results.md
and plots. `--peers` is the Python of an environment that has ctgan, imbalanced-learn and pyarrow (`make peers`); CTGAN is not
open source, so nothing here depends on it. What is in --out should be of one machine: name another folder for another.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
import quality
import summary
import workloads
from cases import SAMPLED, cases
from competitors import COMPETITORS, PEERS
from record import Record

HERE = Path(__file__).parent
GROUPS = ("rows", "columns", "cardinality", "classes", "images", "pixels", "adult", "mixed", "roofline")
REAL = ("adult", "mixed")
QUICK = ("rows", "columns", "images", "pixels", "roofline")


def main(a):
    a.out.mkdir(parents=True, exist_ok=True)
    record = Record(a.out / "measurements.jsonl")
    described = {**machine.describe(a.device, a.threads), **peer_versions(a.peers)}
    (a.out / "machine.json").write_text(json.dumps(described, indent=1) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases([group for group in a.groups if group != "roofline"], a.quick, a.competitors):
            for repeat in range(a.repeats):
                measure(case, repeat, Path(folder), a, record)
    if "roofline" in a.groups:
        roofline(a, record)
    print(summary.write(record.lines, described, a.out))


def measure(case, repeat, folder, a, record):
    """Run one case in a process of its own, unless the record has it."""
    key = {
        "group": case.group, "competitor": case.competitor, "workload": case.workload.as_dict(), "epochs": case.epochs,
        "device": a.device, "threads": a.threads, "repeat": repeat,
    }  # fmt: skip
    if record.has(key, a.limit):
        return
    real = {"adult": a.adult, "mnist": a.mnist, "cifar": a.cifar}
    kept = folder / "drawn.parquet"
    kept.unlink(missing_ok=True)
    task = {
        "competitor": case.competitor,
        "data": str(workloads.write(case.workload, folder, real)),
        "device": a.device,
        "seed": repeat,
        "threads": a.threads,
        "epochs": case.epochs,
        "n_sample": SAMPLED[case.workload.kind],
        "keep": str(kept) if case.group == "adult" else None,
    }
    python = a.peers if case.competitor in PEERS else sys.executable
    found = {"busy": machine.busy(), "limit": a.limit, **run(python, "measure.py", task, a)}
    if kept.exists():
        found["quality"] = quality.scores(kept, a.adult, seed=repeat)
    record.write(key, name=case.workload.name, **found)
    times = ", ".join(f"{line['phase']} {line['wall_s']:.2f} s" for line in found["phases"])
    print(f"{case.group:12s}{case.workload.name:40s}{case.competitor:10s}{times or found['error']}", flush=True)


def roofline(a, record):
    key = {"group": "roofline", "device": a.device, "threads": a.threads}
    if not record.has(key, a.limit):
        found = run(sys.executable, "roofline.py", {"device": a.device}, a)
        record.write(key, name="roofline", busy=machine.busy(), limit=a.limit, **found)


def run(python, script, task, a):
    """{"phases": what it printed, "error": None or why there is no more}."""
    threads = {f"{library}_NUM_THREADS": str(a.threads) for library in ("OMP", "MKL", "OPENBLAS")}
    threads["LOKY_MAX_CPU_COUNT"] = str(a.threads)  # rdt, which CTGAN reads tables with, starts a process per core
    command = [str(python), str(HERE / script), json.dumps(task)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=a.limit, env={**os.environ, **threads})
        complaint = done.stderr.strip().splitlines()[-1:] or [f"ended with code {done.returncode}"]  # -9: killed for memory
        printed, error = done.stdout, complaint[0] if done.returncode else None
    except subprocess.TimeoutExpired as expired:
        printed, error = (expired.stdout or b"").decode(), f"not done after {a.limit} s"
    return {"phases": [json.loads(line) for line in printed.splitlines() if line.startswith("{")], "error": error}


def peer_versions(python):
    """{"peers": versions in the other environment}."""
    if python is None:
        return {}
    code = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in ('ctgan', 'rdt', 'torch')}))"
    return {"peers": json.loads(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes of each kind, one epoch for images")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, help="by default all that there are data for")
    parser.add_argument("--competitors", nargs="+", choices=COMPETITORS, default=list(COMPETITORS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; more are slower for small networks on busy cores")
    parser.add_argument("--limit", type=float, default=1800, help="seconds until a measurement is given up")
    parser.add_argument("--peers", help="Python of the environment with ctgan")
    parser.add_argument("--adult", type=Path, help="folder with Adult's train.csv and test.csv")
    parser.add_argument("--mnist", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--cifar", type=Path, help="folder with CIFAR-10's train.parquet")
    parser.add_argument("--out", type=Path, default=Path("outputs/speed"))
    a = parser.parse_args()
    a.groups = a.groups or [group for group in (QUICK if a.quick else GROUPS) if group not in REAL or a.adult]
    a.competitors = [name for name in a.competitors if a.peers or name not in PEERS]
    if not a.adult and set(REAL) & set(a.groups):
        parser.error(f"the groups {' and '.join(REAL)} need --adult, the folder of Adult's train.csv and test.csv")
    return a


if __name__ == "__main__":
    main(arguments())
