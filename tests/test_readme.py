"""The README's code runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from augment_gen.pipelines import write_image_folder

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_code_in_the_readme_runs(number, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    images, labels = load_digits(n_class=3, return_X_y=True)
    rows = np.concatenate([np.flatnonzero(labels == k)[:n] for k, n in enumerate((40, 30, 10))])
    pixels = (images[rows].reshape(-1, 8, 8) * 15).astype(np.uint8)
    write_image_folder(tmp_path / "data" / "train", pixels, labels[rows], provenance=None)
    monkeypatch.chdir(tmp_path)
    shorter = BLOCKS[number].replace("random_state=0", "random_state=0, max_steps=20, device='cpu'").replace(", verbose=1", "")
    assert "max_steps=20" in shorter
    exec(compile(shorter, f"README block {number}", "exec"), {})


def test_the_two_commands_are_at_the_top():
    top = (ROOT / "README.md").read_text()[:600]
    assert "make demo" in top and "make test" in top
