"""What is fuzzed: per kind of file real ones to start from, how they are damaged, and what is done with all that is read.

Enters: a folder for the file. Leaves: `Target`s. Whoever runs one expects an error of augment_gen's own, or none.
"""

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import mixed_frame
from hostile import damaged_bytes, damaged_json, damaged_safetensors
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

import augment_gen
from augment_gen import ConditionalGAN, ConditionalVAE, ElasticWarp, WarpVAE
from augment_gen.errors import AugmentGenError, ModelFileError
from augment_gen.evaluation.checkpoint import Checkpoint
from augment_gen.pipelines import SyntheticPool
from augment_gen.pipelines.folders import read_image_folder
from augment_gen.pipelines.image_files import png_bytes
from augment_gen.pipelines.inventory import describe_table
from augment_gen.pipelines.manifest import MANIFEST, describe, read_manifest, write_manifest
from augment_gen.pipelines.output_folder import OutputFolder
from augment_gen.pipelines.provenance import SIDECAR, Provenance, read_provenance
from augment_gen.pipelines.tables import read_table

TINY = {"max_steps": 2, "device": "cpu", "random_state": 0}
SMALL = {**TINY, "width": 4, "latent_dim": 2}
PROVENANCE = Provenance("ConditionalVAE", "0" * 64, 7, "1.0")


@dataclass(frozen=True)
class Target:
    """One reader of files.

    Attributes
    ----------
    seeds : list of bytes
        Whole files.
    damage : callable (bytes, rng) -> bytes
    read : callable (bytes)
        Reads the file, and does with what is in it whatever a user may do.
    errors : tuple of exception types
        What may come out.
    """

    seeds: list
    damage: Callable
    read: Callable
    errors: tuple = (AugmentGenError,)

    def run(self, content):
        """Whether the file was read; raises what is not among `errors`."""
        try:
            with warnings.catch_warnings(action="ignore"):
                self.read(content)
        except self.errors:
            return False
        return True


def fitted_generators():
    """{name: generator}: every kind on every modality, and containers of several types."""
    X, y = mixed_frame(40)
    digits = load_digits()
    few = digits.target < 3
    images, labels = digits.images[few][:24].astype(np.uint8), digits.target[few][:24]
    with warnings.catch_warnings(action="ignore"):
        return {
            "vae_table": ConditionalVAE(**SMALL).fit(X, y),
            "gan_table": ConditionalGAN(**SMALL).fit(X[["float64", "many zeros", "uint8"]].to_numpy(), y.to_numpy()),
            "vae_image": ConditionalVAE(**SMALL).fit(images, labels),
            "gan_image": ConditionalGAN(**SMALL).fit(images, labels.astype(str)),
            "warp": WarpVAE(**SMALL).fit(images, labels),
            "elastic": ElasticWarp(**TINY, label_threshold=0).fit(images / 16, labels),
        }


def safetensors_targets(folder):
    """{"load": Target, "pool": Target}."""
    models, pools, path = [], [], Path(folder) / "x.safetensors"
    with warnings.catch_warnings(action="ignore"):
        for generator in fitted_generators().values():
            generator.save(path)
            models.append(path.read_bytes())
            SyntheticPool(generator, dict.fromkeys(generator.classes_.tolist()[:2], 3), path=path)
            pools.append(path.read_bytes())

    def load(content):
        path.write_bytes(content)
        generator = augment_gen.load(path)
        generator.sample(2)
        generator.sample(1, y=generator.classes_.tolist()[-1], random_state=3)
        repr(generator), repr(generator.latent_report_), repr(generator.history_)

    def open_pool(content):
        path.write_bytes(content)
        pool = SyntheticPool.open(path)
        for label in pool.labels:
            pool.rows(label)
            if pool.counts[label]:
                pool.item(label, 0)
            if pool.is_image:
                pool.tensors(label), pool.arrays(label)
        repr(pool)

    only_ours = (ModelFileError,)
    return {
        "load": Target(models, damaged_safetensors, load, only_ours),
        "pool": Target(pools, damaged_safetensors, open_pool, only_ours),
    }


def file_targets(folder):
    """{name: Target} of manifests, provenance, images, tables and checkpoints."""
    root = Path(folder)
    return {
        "manifest": Target([_manifest(root)], damaged_bytes, lambda content: _read_manifest(root, content)),
        "provenance": Target(_provenance_seeds(), _damaged_provenance, lambda content: _read_provenance(root, content)),
        "image": Target(_images(), damaged_bytes, lambda content: _read_image(root, content)),
        "csv": Target(_csv(), damaged_bytes, lambda content: _read_table(root / "x.csv", content)),
        "parquet": Target(_parquet(), damaged_bytes, lambda content: _read_table(root / "x.parquet", content)),
        "checkpoint": Target([_checkpoint(root)], damaged_bytes, lambda content: _read_checkpoint(root, content)),
    }


def _manifest(root):
    rows = [
        describe(label, number, source)[2] for label in ("a", "b c") for number in range(3) for source in (None, PROVENANCE)
    ]
    write_manifest(root / "m.csv", rows)
    return (root / "m.csv").read_bytes()


def _read_manifest(root, content):
    out = root / "out"
    out.mkdir(exist_ok=True)
    (out / MANIFEST).write_bytes(content)
    for row in read_manifest(out / MANIFEST):
        assert (out / row["file"]).resolve().is_relative_to(out.resolve())
        assert out.resolve() != (out / row["file"]).resolve()
    OutputFolder(out, {}, force=True)


def _provenance_seeds():
    image = load_digits().images[0].astype(np.uint8)
    return [png_bytes(image, PROVENANCE.record(label="a")), json.dumps(PROVENANCE.record(target="y")).encode()]


def _damaged_provenance(content, rng):
    if content[:1] == b"{" and rng.randrange(2):
        return json.dumps(damaged_json(json.loads(content), rng)).encode()
    return damaged_bytes(content, rng)


def _read_provenance(root, content):
    (root / "p.png").write_bytes(content)
    (root / f"p.csv{SIDECAR}").write_bytes(content)
    beside = read_provenance(root / "p.csv")
    assert beside is None or isinstance(beside, dict)
    if content[:1] != b"{":
        read_provenance(root / "p.png")


def _images():
    photo = Image.fromarray(load_sample_images().images[0][100:124:2, 200:220:2])
    deep = Image.fromarray(load_digits().images[0].astype(np.uint16) * 4000)
    forms = [(photo, "png"), (photo, "jpeg"), (photo.quantize(8), "png"), (deep, "png"), (deep, "tiff"), (photo, "bmp")]
    seeds = []
    for image, form in forms:
        memory = io.BytesIO()
        image.save(memory, form, **({"progressive": True} if form == "jpeg" else {}))
        seeds.append(memory.getvalue())
    return seeds


def _read_image(root, content):
    (root / "classes" / "a").mkdir(parents=True, exist_ok=True)
    (root / "classes" / "a" / "x.png").write_bytes(content)
    read_image_folder(root / "classes", size=8)


def _csv():
    X, y = mixed_frame(12)
    texts = [X.assign(y=y).to_csv(index=False, sep=separator) for separator in ",;\t"]
    return [texts[0].encode(), texts[1].encode("utf-8-sig"), texts[2].encode(), b'a,"b ""c"",d"\r\n1,"x\ny"\r\n2,\r\n']


def _parquet():
    X, y = mixed_frame(30)
    plain = X.assign(y=y).drop(columns=["took", "category"])
    seeds = []
    for frame, compression in ((plain, "snappy"), (plain.iloc[:, :4], None), (X[["category", "string"]], "zstd")):
        memory = io.BytesIO()
        frame.to_parquet(memory, compression=compression)
        seeds.append(memory.getvalue())
    return seeds


def _read_table(path, content):
    path.write_bytes(content)
    table = read_table(path)
    assert isinstance(table.frame, pd.DataFrame)
    describe_table(path)
    if table.frame.shape[1] > 1:
        table.split(table.frame.columns[-1])


def _checkpoint(root):
    (root / "c.jsonl").unlink(missing_ok=True)
    kept = Checkpoint(root / "c.jsonl", {"X": "1"})
    kept.add((0, "none", "s"), {"arms": [{"arm": "none", "default": [[1, 2], [3, 4]]}], "notes": [], "seconds": 0.5})
    kept.add((1, "smote", "s"), {"error": "ValueError: no"})
    return (root / "c.jsonl").read_bytes()


def _read_checkpoint(root, content):
    (root / "c.jsonl").write_bytes(content)
    kept = Checkpoint(root / "c.jsonl", {"X": "1"})
    for record in kept.records.values():
        assert "error" in record or record["arms"] is not None
