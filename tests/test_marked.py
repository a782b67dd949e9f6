"""Whatever is written says of itself that it is synthetic, also where nobody said so, and at every moment."""

import io
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from augment_gen import persistence
from augment_gen.pipelines.provenance import SYNTHETIC, read_provenance
from augment_gen.pipelines.tables import write_table


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_table_without_a_record_is_marked(tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    write_table(tmp_path / name, pd.DataFrame({"a": [1, 2]}))
    record = read_provenance(tmp_path / name)
    assert record == {"digitalSourceType": SYNTHETIC, "first_synthetic_row": 0, "synthetic_rows": 2}


def test_a_csv_comes_to_its_place_after_the_file_that_marks_it(tmp_path, monkeypatch):
    renamed, rename = [], os.replace

    def watched(source, target):
        renamed.append(os.path.basename(target))
        rename(source, target)

    monkeypatch.setattr(persistence.os, "replace", watched)
    write_table(tmp_path / "out.csv", pd.DataFrame({"a": [1, 2]}))
    assert renamed == ["out.csv.provenance.json", "out.csv"] and sorted(os.listdir(tmp_path)) == sorted(renamed)


def test_images_of_a_report_are_marked_if_synthetic():
    pictures = pytest.importorskip("augment_gen.report.pictures")
    images, labels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8), ["a"] * 6 + ["b"] * 6
    ((_, _, real, synthetic), *_), _ = pictures.class_strips(images, labels, images, labels, ["a", "b"])
    marks = [Image.open(io.BytesIO(one.content)).info for one in (real, synthetic)]
    assert "augment_gen" not in marks[0] and SYNTHETIC in marks[1]["augment_gen"]
