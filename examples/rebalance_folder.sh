#!/bin/sh
# Class folders of images, one class of which is rare, through the command line alone.
#
#     sh examples/rebalance_folder.sh [FOLDER [OPTIONS OF augment-gen ...]]
#
# Real data: scikit-learn's digits (8 x 8 pixels, grey), written out as PNGs; of the eights only 12 are left.
set -eu
folder=${1:-outputs/folder}
[ $# -eq 0 ] || shift

python - "$folder/train" <<'PYTHON'
import sys

import numpy as np
from sklearn.datasets import load_digits

from augment_gen.pipelines.folders import write_image_folder

digits = load_digits()
rows = np.concatenate([np.flatnonzero(digits.target == k)[: 12 if k == 8 else 60] for k in (1, 3, 8)])
images = (digits.images[rows] * 255 / 16).round().astype(np.uint8)
write_image_folder(sys.argv[1], images, digits.target[rows], provenance=None)
PYTHON

# real files are copied as they are, synthetic ones say what they are; interrupted, the same command goes on
augment-gen rebalance "$folder/train" --out "$folder/balanced" --seed 0 "$@"
augment-gen info "$folder/balanced"
