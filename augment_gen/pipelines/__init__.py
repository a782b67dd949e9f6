"""Synthetic rows in the pipelines that people already have.

``augment_gen.pipelines.torchvision`` and ``augment_gen.pipelines.albumentations`` hold transforms, and import those libraries.
"""

from augment_gen.pipelines.datasets import SyntheticDataset, rebalance_dataset
from augment_gen.pipelines.pool import SyntheticPool

__all__ = ["SyntheticDataset", "SyntheticPool", "rebalance_dataset"]
