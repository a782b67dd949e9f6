"""Numbers that never change, on every device where they are read.

Enters: arrays, as they are known when a network or a codec is made. Leaves: the same as tensors on a device, sent there once:
a copy from the host makes a GPU wait, and cannot be part of a recorded step.
"""

import torch


class Constants:
    """Named integer arrays; copies and pickles of it leave out what was placed on devices.

    Parameters
    ----------
    arrays : dict of int array
    """

    def __init__(self, arrays):
        self.arrays, self._placed = arrays, {}

    def on(self, device):
        """Dict of int64 tensors on a torch.device: the same ones at every call, since a recorded step knows their addresses."""
        if device not in self._placed:
            with torch.inference_mode(False):  # a backward pass may need them later
                there = {"device": device, "dtype": torch.int64}
                tensors = {name: torch.as_tensor(array, **there) for name, array in self.arrays.items()}
            self._placed.setdefault(device, tensors)  # another thread may have been faster
        return self._placed[device]

    def __getstate__(self):
        return {"arrays": self.arrays, "_placed": {}}
