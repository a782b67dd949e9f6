"""The house keeps its shape: imports point down, importing is cheap and quiet, no room grows two jobs."""

import ast
import subprocess
import sys
from pathlib import Path

import augment_gen

PACKAGE = Path(augment_gen.__file__).parent
LEVELS = [
    {"errors", "seeding", "layout", "dtypes", "devices", "weights", "schema", "fingerprints", "interruption", "distributed"}
    | {"constants", "graphs", "steps"},
    {
        "conditioning",
        "codecs",
        "networks",
        "training",
        "latent",
        "sampling",
        "persistence",
        "accounting",
        "checkpoints",
        "course",
    },
    {"generators"},
    {"pipelines", "evaluation"},
    {"report"},
    {"cli", "cli_judge"},
    {"__main__"},
]
# siblings of one level do not know each other, but for these
ALLOWED = {("sampling", "conditioning"), ("sampling", "codecs"), ("cli_judge", "cli"), ("checkpoints", "persistence")}
ALLOWED |= {("training", "course"), ("course", "checkpoints")}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("augment_gen."))


def test_imports_point_down():
    level = {name: number for number, names in enumerate(LEVELS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        here = room(path)
        if here == "__init__":
            continue
        assert here in level, f"{here} has no level: add it to LEVELS"
        for there in imported_rooms(path):
            low_enough = there == here or level[there] < level[here] or (here, there) in ALLOWED or level[here] == 0
            assert low_enough, f"{path.relative_to(PACKAGE)} imports {there}, which is not below it"


def test_import_is_cheap_and_opens_nothing():
    code = """
import sys, socket
def refuse(*a, **k): raise AssertionError("network at import")
socket.socket.connect = refuse
import time
start = time.perf_counter()
import torch, sklearn, imblearn
between = time.perf_counter()
import augment_gen
print(between - start, time.perf_counter() - between)
heavy = {"torchvision", "albumentations", "matplotlib", "jinja2", "torch._dynamo"} & set(sys.modules)
assert not heavy, heavy
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    theirs, ours = map(float, printed.split())
    assert ours < 0.5 * theirs, "the package must cost little beside what it stands on"


def test_public_names_have_docstrings_with_an_example():
    for name in augment_gen.__all__:
        thing = getattr(augment_gen, name)
        assert isinstance(thing, str) or ">>>" in thing.__doc__, name


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").exists()
