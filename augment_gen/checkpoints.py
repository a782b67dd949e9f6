"""A folder with the checkpoints of one fit.

Enters: a folder, what the fit is of, and its state now and then. Leaves: files ``checkpoint-000001.safetensors`` and so on,
the last two of them kept, each whole or not there; and the newest state that can be read. Reading executes nothing.
"""

import hashlib
import os
import secrets
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import sklearn
import torch

from augment_gen.devices import resolve_device
from augment_gen.errors import CheckpointError, ModelFileError, TrainingWarning
from augment_gen.fingerprints import data_fingerprint, settings_fingerprint
from augment_gen.persistence import ASIDE, read_state, write_state

EVERY = 30.0  # seconds between two checkpoints of a stage; its end is another
MOST_TIME = 0.03  # share of a training's time that checkpoints may take: the next one waits accordingly
KEPT = 2
KIND = "checkpoint"


class CheckpointFolder:
    """A folder of checkpoints of one fit. One fit at a time may use it.

    Parameters
    ----------
    path : str or path-like
        Made where it is not there.
    fingerprint : dict of str
        What has to be equal for checkpoints to be usable.

    Attributes
    ----------
    found : dict or None
        The newest state that could be read.

    Raises
    ------
    CheckpointError
        Nothing can be written there, or what is there belongs to another fit; nothing is changed then.
    """

    def __init__(self, path, fingerprint):
        self.path, self.fingerprint = Path(path), fingerprint
        self.found, self._whole, self._cost, self._failed = None, [], 0.0, False
        self._check_writable()
        there = sorted(self.path.glob("checkpoint-*.safetensors"), key=_number)
        self._next = 1 + max(map(_number, there), default=0)
        while there and self.found is None:
            self._read(there.pop(), there)
        self._last = time.monotonic()

    def is_due(self):
        return time.monotonic() - self._last >= max(EVERY, self._cost / MOST_TIME)

    def write(self, state):
        """Write a state aside, flush it, move it into place; what is older than the one before it goes.

        Where that fails (a full disk) training goes on with a warning, and the checkpoints before are as they were.
        """
        start = time.monotonic()
        path = self.path / f"checkpoint-{self._next:06d}.safetensors"
        state = {"fingerprint": self.fingerprint, **state}
        try:
            write_state(path, {**state, "digest": _digest(state)}, KIND)
            _flush_folder(self.path)
            self._whole = [*self._whole, path][-KEPT:]
            for old in set(self.path.glob("checkpoint-*.safetensors")) - set(self._whole):
                old.unlink(missing_ok=True)
        except OSError as error:
            if not self._failed:
                kept = "the one before is kept" if self._whole else "none is kept so far"
                warnings.warn(
                    f"A checkpoint could not be written to {str(self.path)!r}: {error}. Training goes on; {kept}.",
                    TrainingWarning,
                    stacklevel=2,
                )
            self._failed = True
        else:
            self._next, self._failed = self._next + 1, False
        self._last = time.monotonic()
        self._cost = self._last - start

    @contextmanager
    def blamed(self):
        """A context in which whatever a state trips over is said to be the checkpoint's fault."""
        try:
            yield
        except Exception as error:
            raise CheckpointError(
                f"A checkpoint in {str(self.path)!r} does not fit this fit ({type(error).__name__}: {error}). Delete the "
                "checkpoints to start anew."
            ) from error

    def _check_writable(self):
        probe = self.path / f"{ASIDE}{secrets.token_hex(8)}.part"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            for left in self.path.glob(f"{ASIDE}*.part"):  # of this probe, and of processes killed while they wrote
                left.unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint_dir={str(self.path)!r} cannot be written to ({error}). Give a folder that can."
            ) from error

    def _read(self, path, older):
        try:
            state = read_state(path, KIND)
            if not isinstance(state, dict) or state.pop("digest", None) != _digest(state):
                raise ModelFileError(f"{path.name} is damaged: its contents are not those that were written.")
        except (ModelFileError, OSError, RecursionError) as error:
            where = f"from {older[-1].name}, the one before" if older else "from the beginning"
            warnings.warn(f"{error} The fit goes on {where}.", TrainingWarning, stacklevel=8)
            return
        with self.blamed():
            theirs = dict(state["fingerprint"])
        differing = [name for name in {**self.fingerprint, **theirs} if self.fingerprint.get(name) != theirs.get(name)]
        if differing:
            raise CheckpointError(
                f"checkpoint_dir={str(self.path)!r} holds checkpoints of another fit: "
                f"{'; '.join(self._difference(name, theirs) for name in differing)}. Give each fit a folder of its own, or "
                "delete the checkpoints to start anew."
            )
        self.found, self._whole = state, [path]

    def _difference(self, name, theirs):
        if name in ("X", "y"):
            return f"it is of another {name}"
        return f"{name} was {theirs.get(name, 'not there')}, and is {self.fingerprint.get(name, 'not there')}"


def describe_fit(estimator, X, class_index, classes):
    """What makes two fits the same, as a dict of str: parameters, data, device and library versions.

    Parameters
    ----------
    estimator : BaseGenerator
        A ``random_state`` that is no int counts as any other such: the seed that was drawn is in the checkpoint.
    X
        In the user's format.
    class_index : int64 array (n,)
    classes : array (n_classes,)
    """
    from augment_gen import __version__

    params = {name: settings_fingerprint(value) for name, value in estimator.get_params(deep=False).items()}
    del params["verbose"]
    seeded = isinstance(estimator.random_state, (int, np.integer))
    return {
        "generator": type(estimator).__name__,
        **params,
        "random_state": str(estimator.random_state) if seeded else "no int",
        "device": str(resolve_device(estimator.device)),
        "X": data_fingerprint(X),
        "y": data_fingerprint(class_index) + data_fingerprint(classes),
        "augment_gen": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }


def _number(path):
    digits = path.stem.removeprefix("checkpoint-")
    return int(digits) if digits.isdecimal() else 0


def _digest(value):
    """Hexadecimal digest of nested dicts and lists of JSON values and tensors."""
    digest = hashlib.blake2b(digest_size=16)

    def add(value):
        if isinstance(value, dict):
            digest.update(f"{{{len(value)}".encode())
            for name in sorted(value):
                add(name)
                add(value[name])
        elif isinstance(value, (list, tuple)):
            digest.update(f"[{len(value)}".encode())
            for item in value:
                add(item)
        elif isinstance(value, torch.Tensor):
            digest.update(f"<{value.dtype} {tuple(value.shape)}".encode())
            if value.numel():  # an empty one may have strides that no view is made of
                digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        else:
            digest.update(f"{value!r},".encode())

    add(value)
    return digest.hexdigest()


def _flush_folder(path):
    """Make a renaming last through a power cut, where the system knows folders as files."""
    if os.name == "posix":
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
