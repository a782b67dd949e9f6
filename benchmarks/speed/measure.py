"""One measurement, in a process of its own: how long one competitor takes on one file of data, and how much memory.

    python measure.py '{"competitor": "vae", "data": "...", "device": "cpu", "seed": 0, "threads": 1, "n_sample": 1000}'

Prints one line of JSON per phase: "fit", "sample" (rows by frequency), "fill" (rows that balance the classes), or "rebalance"
(SMOTE, which fits and fills in one). Wall time; CPU time of all threads, which other work on the machine changes less; and
the highest memory of the phase above what was in use before the fit, with the data read and the libraries imported.
"""

import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path


def main(task):
    os.environ["OMP_NUM_THREADS"] = str(task["threads"])  # before any library starts its threads
    from competitors import COMPETITORS, missing
    from workloads import read

    X, y = read(task["data"])
    competitor = COMPETITORS[task["competitor"]](task["competitor"], task["device"], task["seed"], task.get("epochs"))
    memory = GpuMemory() if task["device"].startswith("cuda") else HostMemory()
    if hasattr(competitor, "rebalance"):
        return report(memory, "rebalance", lambda: competitor.rebalance(X, y), sum(missing(y).values()))
    report(memory, "fit", lambda: competitor.fit(X, y), len(y))
    drawn = report(memory, "sample", lambda: competitor.sample(task["n_sample"]), task["n_sample"])
    if hasattr(competitor, "fill"):
        wanted = missing(y)
        report(memory, "fill", lambda: competitor.fill(wanted), sum(wanted.values()))
    if task.get("keep"):
        X_new, y_new = drawn
        X_new.assign(**{y.name: y_new}).to_parquet(task["keep"], index=False)


def report(memory, phase, work, n_rows):
    """Run `work`, and print what it took."""
    memory.restart()
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    memory.wait()
    line = {
        "phase": phase,
        "n_rows": n_rows,
        "wall_s": round(time.perf_counter() - wall, 4),
        "cpu_s": round(time.process_time() - cpu, 4),
        "peak_mb": round(memory.peak(), 1),
    }
    print(json.dumps(line), flush=True)
    return result


class HostMemory:
    """The process's resident memory above what it was at the start, in MB."""

    def __init__(self):
        self.before = self._now("VmRSS")

    def restart(self):
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark starts again from what is in use
        except OSError:
            pass

    def wait(self):
        """Nothing runs on after the call."""

    def peak(self):
        return self._now("VmHWM") - self.before

    def _now(self, field):
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
        except OSError:  # not Linux: the highest of the whole process, in bytes on a Mac
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


class GpuMemory:
    """What torch has allocated on the GPU, in MB."""

    def __init__(self):
        import torch

        self.cuda = torch.cuda
        self.cuda.init()

    def restart(self):
        self.cuda.synchronize()
        self.cuda.reset_peak_memory_stats()

    def wait(self):
        self.cuda.synchronize()

    def peak(self):
        return self.cuda.max_memory_allocated() / 2**20


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(json.loads(sys.argv[1]))
