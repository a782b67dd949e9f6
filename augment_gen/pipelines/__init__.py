"""Synthetic rows in the pipelines that people already have.

``augment_gen.pipelines.torchvision`` and ``augment_gen.pipelines.albumentations`` hold transforms, and import those libraries.
"""

from augment_gen.pipelines.datasets import SyntheticDataset
from augment_gen.pipelines.folders import read_image_folder, write_image_folder
from augment_gen.pipelines.pool import SyntheticPool
from augment_gen.pipelines.provenance import Provenance
from augment_gen.pipelines.rebalancing import rebalance_dataset

__all__ = [
    "Provenance",
    "SyntheticDataset",
    "SyntheticPool",
    "read_image_folder",
    "rebalance_dataset",
    "write_image_folder",
]
