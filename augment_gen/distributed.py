"""Several processes that train one model together, each on its part of every batch; torchrun starts them.

Enters: a ``torch.distributed`` process group, or what torchrun puts into the environment. Leaves: a `Share`, which the training
loop asks for its rows of a batch and hands its gradients to. Outside `data_parallel` nothing here is ever in effect.

Gradients are averaged by one all-reduce over one flat buffer per phase and step. ``DistributedDataParallel`` does that too, but
for one module whose forward is called once a step; the losses here call several methods of several modules, and a phase trains
only some of them.
"""

import os
import zlib
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import distributed

from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.seeding import draw_seed, torch_generator


@dataclass(frozen=True)
class Share:
    """What one of several processes does of a training; by default all of it.

    Attributes
    ----------
    rank, n_processes : int
        Rank 0 is the one that saves.
    """

    rank: int = 0
    n_processes: int = 1

    @property
    def rows(self):
        """slice: this process's rows of a batch that is drawn alike everywhere."""
        return slice(self.rank, None, self.n_processes)

    # ------------------------------------------------------------ before the first step
    def seeded(self, rng):
        """`rng` itself where one process trains alone, else a numpy generator that is the same for all."""
        if self.n_processes == 1:
            return rng
        seed = torch.tensor([draw_seed(rng)])
        return np.random.default_rng(int(_from_first(seed)[0]))

    def refuse_checkpoints(self):
        """Raise where several processes train together: a checkpoint would hold the noise of one of them alone."""
        if self.n_processes > 1:
            raise InvalidParameterError(
                f"checkpoint_dir is for fits in one process, but {self.n_processes} train together. Leave it out."
            )

    def check_same_data(self, tensors):
        """Raise InvalidDataError in all processes where they do not hold the same tensors, by number and checksum of rows."""
        if self.n_processes == 1:
            return
        digest = 0
        for tensor in tensors:
            digest = zlib.crc32(np.ascontiguousarray(tensor.cpu().numpy()), digest)
        mine = _movable(torch.tensor([len(tensors[0]), digest]))
        everyone = [torch.empty_like(mine) for _ in range(self.n_processes)]
        distributed.all_gather(everyone, mine)
        if all(torch.equal(one, mine) for one in everyone):
            return
        n_rows = [int(one[0]) for one in everyone]
        found = f"{', '.join(map(str, n_rows))} rows" if len(set(n_rows)) > 1 else "as many rows, with other values"
        raise InvalidDataError(
            f"X and y must be the same in all {self.n_processes} processes, which share out every batch among themselves; they "
            f"hold {found}. Read all of the data in each process, in the same order."
        )

    def joined(self, modules, batch_size, generator):
        """The generator of this process's own noise, once all have agreed on the start.

        Parameters
        ----------
        modules : list of nn.Module
            Their weights become those of rank 0.
        batch_size : int
            Rows of a batch of all processes together.
        generator : torch.Generator
            In the same state everywhere. Batches are drawn from it, and nothing else, so that it stays so.

        Raises
        ------
        InvalidParameterError
            A process's part of a batch would have fewer than two rows, from which batch norm has nothing to learn.
        """
        if self.n_processes == 1:
            return generator
        if batch_size < 2 * self.n_processes:
            raise InvalidParameterError(
                f"batch_size={batch_size} is shared out among {self.n_processes} processes, which leaves one of them less than "
                f"two rows. Set batch_size to {2 * self.n_processes} or more, or start fewer processes."
            )
        self.equalise(modules)
        seed = zlib.crc32(generator.get_state().numpy())  # which draws nothing: the batches are those of one process alone
        return torch_generator(seed + self.rank, generator.device)

    def monitoring(self, monitor):
        """`monitor` with the score of rank 0, so that all stop at the same step."""
        if self.n_processes == 1 or monitor is None:
            return monitor
        return replace(monitor, score=lambda: float(_from_first(torch.tensor([float(monitor.score())]))[0]))

    # ------------------------------------------------------------ in every step
    def average_gradients(self, parameters, n_rows, batch_size):
        """Replace gradients of a mean over this process's `n_rows` by those of the mean over the whole batch."""
        if self.n_processes == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = _movable(torch.cat([gradient.reshape(-1) for gradient in gradients]).mul_(n_rows / batch_size))
        distributed.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)])

    def mean(self, values):
        """`values`, a tensor, averaged over processes; where one of them holds a NaN, all see it, and give up together."""
        if self.n_processes == 1:
            return values
        values = _movable(values)
        distributed.all_reduce(values)
        return values / self.n_processes

    # ------------------------------------------------------------ behind the last
    def equalise(self, modules):
        """Give all weights and buffers the values of rank 0: batch-norm statistics are gathered on each one's own rows."""
        if self.n_processes == 1:
            return
        for module in modules:
            for tensor in module.state_dict().values():
                tensor.copy_(_from_first(tensor))


ALONE = Share()
_active = ContextVar("share", default=ALONE)


def current_share():
    """The `Share` of the innermost `data_parallel` block; all of the work outside of one."""
    return _active.get()


@contextmanager
def data_parallel():
    """Inside the with-block, ``fit`` trains one model on all processes of the default ``torch.distributed`` group together.

    Every process calls ``fit`` with the same X, y and parameters. A batch keeps its size: each of n processes takes an n-th of
    its rows, and gradients are averaged over all of them, so that the model is the one that a single process would have trained
    but for rounding, noise, and batch norm, which looks at one process's rows. All end with the same weights, bit for bit. What
    is done before and after the steps (encoding, densities, filters) each process does for itself, alike.

    Where there is no group yet, one is made from the environment that torchrun sets, and ended behind the block: with gloo on
    the CPU and, where there is CUDA, NCCL on GPUs, of which each process takes that of its own number. Without torchrun the
    block changes nothing, so that a script runs either way.

    Nothing happens without this block, whatever group there is: a generator that one process of a larger job fits alone waits
    for nobody.

    Yields
    ------
    Share
        With ``rank`` and ``n_processes``.

    Raises
    ------
    InvalidDataError, InvalidParameterError
        In `fit`: the processes hold different data, or a batch is too small to be shared out.

    Examples
    --------
    A script that runs alone, or with ``torchrun --nproc-per-node 2 script.py``:

    >>> from sklearn.datasets import load_iris
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.distributed import data_parallel
    >>> X, y = load_iris(return_X_y=True)
    >>> with data_parallel() as share:
    ...     gen = ConditionalVAE(max_steps=20, random_state=0).fit(X, y)
    >>> share.rank, share.n_processes  # rank 0 would now save it
    (0, 1)
    """
    ours = distributed.is_available() and not distributed.is_initialized() and _started_by_torchrun()
    with _process_group() if ours else nullcontext():
        grouped = distributed.is_available() and distributed.is_initialized()
        share = Share(distributed.get_rank(), distributed.get_world_size()) if grouped else ALONE
        token = _active.set(share)
        try:
            yield share
        finally:
            _active.reset(token)


def worker():
    """``(rank, n_workers)`` of this process, as torchrun or Slurm's srun says in the environment; ``(0, 1)`` without them."""
    for rank, n_workers in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if rank in os.environ and n_workers in os.environ:  # the second is set by srun alone, not in a batch script as such
            return int(os.environ[rank]), int(os.environ[n_workers])
    return 0, 1


def use_own_gpu():
    """Make "cuda" mean the GPU that is this process's by its number on the machine, where torchrun or srun started several."""
    number = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID"))
    if number is not None and torch.cuda.is_available():
        torch.cuda.set_device(int(number) % torch.cuda.device_count())


def _started_by_torchrun():
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


@contextmanager
def _process_group():
    use_own_gpu()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _movable(tensor):
    """`tensor` where the group can send it from: one of somebody else's that has NCCL alone sends from GPUs only."""
    return tensor.cuda() if distributed.get_backend() == "nccl" else tensor


def _from_first(tensor):
    """A tensor's values in rank 0."""
    sent = _movable(tensor.detach().clone())
    distributed.broadcast(sent, 0)
    return sent
