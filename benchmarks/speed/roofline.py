"""How close each network's training step comes to what this machine can do: FLOP/s and bytes/s beside a matmul and a copy.

    python benchmarks/speed/roofline.py '{"device": "cpu"}'

The ceilings: a large matrix product and a 3 x 3 convolution in float32 and bfloat16, and a copy of memory much larger than any
cache. A step: the FLOPs of its matrix products and convolutions, forward and backward (by torch's own formulas); and the
bytes of all tensors that its operations read and write, which counts what stays in a cache or in registers too. The steps are
those of real fits: the training loop is called as in `fit`, once under the counters and once under the clock, for fewer steps.
"""

import json
import statistics
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
from sklearn.datasets import make_classification
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import augment_gen
from augment_gen import training

STEPS = 16  # under the clock
COUNTED = 8  # under the counters; one of eight adversarial steps has a gradient penalty
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Counter(TorchDispatchMode):
    """Sums the FLOPs of operations, and the bytes that they read and write; views move none.

    torch's ``FlopCounterMode`` refuses gradients of gradients, which a discriminator's penalty needs; its formulas do not.
    """

    def __init__(self):
        super().__init__()
        self.flops = self.n_bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        formula = flop_registry.get(operation._overloadpacket)
        self.flops += formula(*args, **(kwargs or {}), out_val=result) if formula else 0
        read = {t.data_ptr(): t for t in _tensors(args)}
        written = [t for t in _tensors((result,)) if t.data_ptr() not in read]
        inplace = operation._schema.is_mutable
        if written or inplace:
            self.n_bytes += sum(t.numel() * t.element_size() for t in (*read.values(), *written))
        return result


def _tensors(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def clock(device):
    """Seconds now, once the device is done; of CPU time on a single thread, which leaves other work on its core out."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.process_time() if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter()


def seconds(work, device, repeats=5):
    """Median time of a call."""
    times = []
    for _ in range(repeats + 1):
        start = clock(device)
        work()
        times.append(clock(device) - start)
    return statistics.median(times[1:])  # the first call warms up


def ceilings(device):
    """What the machine reaches: {"copy": bytes/s, "matmul": {precision: FLOP/s}, "convolution": {precision: FLOP/s}}."""
    on_gpu = device.startswith("cuda")
    side, channels, batch = (8192, 256, 256) if on_gpu else (2048, 128, 16)
    source = torch.ones(2**28 // 4, device=device)
    target = torch.empty_like(source)
    found = {"copy": 2 * 2**28 / seconds(lambda: target.copy_(source), device), "matmul": {}, "convolution": {}}
    for name, dtype in PRECISIONS.items():
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        found["matmul"][name] = 2 * side**3 / seconds(lambda a=a, b=b: a @ b, device)
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
        layer = layer.to(memory_format=torch.channels_last).requires_grad_(False)
        x = torch.randn(batch, channels, 32, 32, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        flops = 2 * batch * 32 * 32 * 9 * channels**2
        found["convolution"][name] = flops / seconds(lambda layer=layer, x=x: layer(x), device)
    return found


def measured(found, device):
    """A stand-in for the training loop that runs the real one under the counters, then under the clock."""

    def train(phases, rows, class_index, plan, *, n_classes, generator, monitor=None):
        run = lambda n_steps: real(
            phases, rows, class_index, replace(plan, n_steps=n_steps), n_classes=n_classes, generator=generator
        )
        with Counter() as counter:
            run(COUNTED)
        flops, n_bytes = counter.flops / COUNTED, counter.n_bytes / COUNTED
        start, wall = clock(device), time.perf_counter()
        history = run(STEPS)
        step, wall = (clock(device) - start) / STEPS, (time.perf_counter() - wall) / STEPS
        found.setdefault(plan.description, {
            "batch_size": plan.batch_size,
            "autocast": plan.autocast,
            "step_ms": round(1000 * step, 3),
            "step_wall_ms": round(1000 * wall, 3),
            "mflop": round(flops / 1e6, 2),
            "mb_moved": round(n_bytes / 2**20, 2),
            "flop_per_s": flops / step,
            "bytes_per_s": n_bytes / step,
        })  # fmt: skip
        return history

    real = training.train
    return train


def stages(generator, X, y, device):
    """{stage of the fit: its figures}."""
    found = {}
    stand_in = measured(found, device)
    users = [m for name, m in sys.modules.items() if name.startswith("augment_gen.generators")]
    with ExitStack() as stack:
        for module in users:
            if getattr(module, "train", None) is training.train:
                stack.enter_context(mock.patch.object(module, "train", stand_in))
        generator.fit(X, y)
    return found


def networks(device):
    """``(name, unfitted generator, X, y)`` of everything that is looked at."""
    X, y = make_classification(32_000, 20, n_informative=10, random_state=0)
    rng = np.random.default_rng(0)
    for name in ("ConditionalVAE", "ConditionalGAN"):
        yield f"{name}, table of 32,000 x 20", getattr(augment_gen, name)(device=device, random_state=0), X, y
    for side, channels in ((28, 1), (32, 3)):
        images = rng.integers(0, 256, (512, side, side, channels), dtype=np.uint8)
        for name in ("ConditionalVAE", "ConditionalGAN", "WarpVAE"):
            for precision in PRECISIONS:
                generator = getattr(augment_gen, name)(device=device, random_state=0, precision=precision)
                yield f"{name}, {side} x {side} x {channels}, {precision}", generator, images, np.arange(512) % 4


def main(task):
    device = task["device"]
    limits = ceilings(device)
    print(json.dumps({"ceilings": limits}), flush=True)
    for name, generator, X, y in networks(device):
        for stage, figures in stages(generator, X, y, device).items():
            precision = "bfloat16" if figures["autocast"] else "float32"
            shares = {
                "share_of_matmul": round(figures["flop_per_s"] / limits["matmul"][precision], 4),
                "share_of_convolution": round(figures["flop_per_s"] / limits["convolution"][precision], 4),
                "share_of_copy": round(figures["bytes_per_s"] / limits["copy"], 4),
            }
            print(json.dumps({"network": name, "stage": stage, **figures, **shares}), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(json.loads(sys.argv[1]))
