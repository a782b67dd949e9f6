"""What `test_distributed.py` starts with torchrun: trains on two processes, and leaves what each of them saw in a folder."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from torch import distributed, nn

from augment_gen import ConditionalGAN, ConditionalVAE, load
from augment_gen.distributed import data_parallel, worker
from augment_gen.errors import AugmentGenError
from augment_gen.pipelines.shards import sample_shards
from augment_gen.steps import Phase
from augment_gen.training import Plan, train


def table(part):
    """Breast cancer: the rows to train on (0) or to test with (1), and their classes."""
    X, y = load_breast_cancer(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X)) % 2 == part
    return X[rows], y[rows]


def generator(**parameters):
    return ConditionalVAE(**{"max_steps": 250, "random_state": 0, "device": "cpu", **parameters})


def line():
    """A line fitted with batches of 33 rows, which two processes cannot halve: (weight, bias), and the curve of the loss."""
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    x = torch.linspace(-1, 1, 200)[:, None]
    loss = lambda rows, condition, now, generator: {"loss": (model(rows["x"]) - 3 * rows["x"] - 1).square().mean()}
    plan = Plan(n_steps=50, batch_size=33, device=torch.device("cpu"))
    index, stream = torch.zeros(200, dtype=torch.int64), torch.Generator().manual_seed(0)
    history = train([Phase((model,), loss, 0.1)], {"x": x}, index, plan, n_classes=1, generator=stream)
    # what is drawn behind a training must be the same everywhere
    return [model.weight.item(), model.bias.item(), float(torch.rand((), generator=stream))], history["loss"].tolist()


def draw(folder, out, worker):
    """Shards from the model that rank 0 saved."""
    model = folder / "vae.safetensors"
    return sample_shards(load(model), folder / out, {0: 35, 1: 5}, 4, model=model, worker=worker)


def weights(fitted):
    return {name: tensor.numpy().tobytes().hex() for name, tensor in fitted.decoder_.network.state_dict().items()}


def complaint(fit):
    try:
        fit()
    except AugmentGenError as error:
        return f"{type(error).__name__}: {error}"


def main(folder):
    X, y = table(0)
    digits = load_digits()
    images = (digits.images[:200] * 15).astype(np.uint8)
    found = {}
    with data_parallel() as share:
        gen = generator().fit(X, y)
        found["vae"], found["history"] = weights(gen), gen.history_.to_dict("list")
        found["rows"] = gen.sample(5, y=0, random_state=0)[0].tolist()
        if share.rank == 0:
            gen.save(folder / "vae.safetensors")
        distributed.barrier()
        draw(folder, "shards", worker())
        # None: each process would take entropy of its own
        gan = ConditionalGAN(max_steps=9, random_state=None, device="cpu")
        found["gan"] = weights(gan.fit(X, y))
        found["images"] = weights(ConditionalGAN(max_steps=2, random_state=0, device="cpu").fit(images, digits.target[:200]))
        found["line"] = line()
        found["other rows"] = complaint(lambda: generator(max_steps=2).fit(X[share.rank :: 2], y[share.rank :: 2]))
        found["small batch"] = complaint(lambda: generator(max_steps=2, batch_size=3).fit(X, y))
    if share.rank == 0:  # behind the block a fit waits for nobody
        generator(max_steps=2).fit(X, y)
    (folder / f"{share.rank}.json").write_text(json.dumps({**found, "share": [share.rank, share.n_processes]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
