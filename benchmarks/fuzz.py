"""Coverage-guided fuzzing of everything that reads files, with atheris (not a dependency: ``pip install atheris``).

    python benchmarks/fuzz.py --target load --runs 100000 --bytes
    python benchmarks/fuzz.py --target load --runs 20000

With ``--bytes`` the fuzzer's input is the file; it starts from the header of the smallest real one, without its arrays, so that
most inputs cost a millisecond. Without it, it is a list of decisions on how to damage a real file, so that
the contents of headers and tensors are reached behind the checks of the container. Ends with a line of counts; an input that
lets anything out but augment_gen's own errors ends the run with its traceback, and is kept by atheris as ``crash-...``.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
with atheris.instrument_imports(include=["augment_gen"]):
    from hostile import packed, unpacked
    from hostile_targets import file_targets, safetensors_targets


class Decisions:
    """The methods of ``random.Random`` that damaging takes, decided by the fuzzer's bytes."""

    def __init__(self, content):
        self._provider = atheris.FuzzedDataProvider(content)

    def randrange(self, stop):
        return self._provider.ConsumeIntInRange(0, stop - 1)

    def choice(self, options):
        return options[self.randrange(len(options))]


def without_arrays(content):
    """A safetensors file of ours with nothing but its header."""
    bare = lambda value: (
        {name: bare(item) for name, item in value.items() if not (isinstance(item, dict) and "$" in item)}
        if isinstance(value, dict)
        else value
    )
    return packed({}, bare(unpacked(content)[1]), b"")


class Counted:
    """Runs one target, and counts."""

    def __init__(self, name, target, as_bytes, n_wanted):
        self.name, self.target, self.as_bytes, self.n_wanted = name, target, as_bytes, n_wanted
        self.n_runs = self.n_read = 0
        self.slowest = 0.0

    def __call__(self, content):
        if not self.as_bytes:
            decisions = Decisions(content)
            content = self.target.damage(decisions.choice(self.target.seeds), decisions)
        start = time.perf_counter()
        self.n_read += self.target.run(content)
        self.slowest = max(self.slowest, time.perf_counter() - start)
        self.n_runs += 1
        if self.n_runs == self.n_wanted:  # the fuzzer ends the process without a word to Python
            print(f"{self.name}: {self}", flush=True)

    def __str__(self):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return f"{self.n_runs} inputs, {self.n_read} read, slowest {self.slowest:.2f} s, peak memory {peak:.0f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="load")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--bytes", action="store_true", help="the fuzzer's input is the file itself")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make = safetensors_targets if arguments.target in ("load", "pool") else file_targets
        target = make(folder)[arguments.target]
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(sorted(target.seeds, key=len)[:2]):
            assert target.run(seed), "the file that is damaged must be whole"
            bare = without_arrays(seed) if arguments.target in ("load", "pool") else seed
            (corpus / str(number)).write_bytes(bare if arguments.bytes else bytes([number] * 64))
        counted = Counted(arguments.target, target, arguments.bytes, arguments.runs)
        options = [f"-runs={arguments.runs}", "-rss_limit_mb=4096", "-timeout=60", "-max_len=8000"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], counted)
        atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
