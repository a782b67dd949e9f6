"""Which measurements there are: from one middling workload, one thing is varied at a time.

Groups: rows, columns, cardinality, classes (tables, half of whose columns are categorical); images, pixels; adult; mixed
(100,000 rows of Adult, drawn with replacement: 14 columns of up to 41 levels, every fourth row in the smaller class).
"""

from dataclasses import dataclass, replace

from competitors import PEERS
from workloads import Workload

ADULT_ROWS = 32_561
TABLE = Workload("table", 10_000, columns=10)
IMAGES = Workload("images", 1000, classes=10, side=28)
SAMPLED = {"table": 100_000, "adult": 100_000, "images": 10_000}  # rows drawn in the phase "sample"
PEER_EPOCHS = 3  # of CTGAN and TVAE but on Adult, where they run all of their 300; their time is linear in epochs


@dataclass(frozen=True)
class Case:
    """One competitor on one workload; `epochs` is None for its own default."""

    group: str
    competitor: str
    workload: Workload
    epochs: int | None = None


def cases(groups, quick, competitors):
    """All cases of the wanted groups and competitors, the cheap ones of each first."""
    made = {
        "rows": _tables("rows", [1000, 10_000, 100_000, 1_000_000], quick, ("vae", "gan", "smotenc", *PEERS)),
        "columns": _tables("columns", [10, 100, 500], quick, ("vae", "gan", "smotenc")),
        "cardinality": _tables("cardinality", ["low", "high", "none"], quick, ("vae", "gan", "smotenc")),
        "classes": _tables("classes", [2, 10, 100], quick, ("vae", "gan", "smotenc")),
        "images": _images("rows", [1000, 5000, 50_000], quick, ("vae", "gan"), "images"),
        "pixels": _images("side", [28, 32, 64, 128], quick, ("vae", "gan", "warp", "elastic"), "pixels"),
        "adult": [Case("adult", name, Workload("adult", ADULT_ROWS)) for name in ("vae", "gan", "smotenc", *PEERS)],
        "mixed": [Case("mixed", name, Workload("adult", 100_000)) for name in ("vae", "gan", "smotenc")],
    }
    wanted = [case for group in groups for case in made[group]]
    return [case for case in wanted if case.competitor in competitors]


def _tables(axis, values, quick, competitors):
    for value in values[:2] if quick else values:
        workload = replace(TABLE, **{axis: value})
        for name in competitors:
            if name == "smotenc" and workload.cardinality == "none":
                name = "smote"
            yield Case(axis, name, workload, PEER_EPOCHS if name in PEERS else None)


def _images(axis, values, quick, competitors, group):
    for value in values[:2] if quick else values:
        for name in competitors[:2] if quick else competitors:
            yield Case(group, name, replace(IMAGES, **{axis: value}), epochs=1 if quick else None)
