"""How fast the steps of every training are, one by one and as one CUDA graph, and whether both lead to the same weights.

    python benchmarks/graph.py [--device cuda] [--steps 1000] [--seed 0]

A ConditionalGAN of a mixed table, and a ConditionalGAN and a WarpVAE of images of 28 x 28 pixels, are fitted twice: eagerly,
and with recorded steps. Every training of the second fit starts from where that of the first did, so that differences do not
add up. Printed as JSON, for each training: steps per second over its second half, without stop scores; launches of kernels and
of graphs per step, over 25 steps that are not timed; and the largest difference between weights after the last step, beside
the largest weight. On a CPU nothing is recorded, and there is only the first fit.
"""

import argparse
import json
import time
import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from augment_gen import ConditionalGAN, WarpVAE, graphs, training
from augment_gen.errors import TrainingWarning

PROFILED = 25  # steps in front of the timed ones
LAUNCHES = (
    "cudaLaunchKernel",
    "cudaLaunchKernelExC",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cudaMemsetAsync",
    "cudaMemcpyAsync",
)


def table(n_rows, rng):
    """Numbers, few numbers, flags and levels in turn, 20 columns, and two classes."""
    kinds = (
        lambda: rng.normal(size=n_rows),
        lambda: rng.integers(0, 9, n_rows),
        lambda: rng.random(n_rows) < 0.3,
        lambda: rng.choice(list("abcde"), n_rows),
    )
    return pd.DataFrame({f"x{i}": kinds[i % 4]() for i in range(20)}), rng.integers(0, 2, n_rows)


def images(n_images):
    """Scikit-learn's digits, enlarged to 28 x 28."""
    digits = load_digits()
    small = torch.from_numpy(digits.images[:n_images] * 15)[:, None]
    large = F.interpolate(small, size=28, mode="bilinear", align_corners=False)[:, 0]
    return large.clamp(0, 255).byte().numpy(), digits.target[:n_images]


class Observer:
    """Stands by while models are fitted, and notes what becomes of each of their trainings.

    Parameters
    ----------
    device : torch.device
    starts : list of dict, optional
        Of an earlier observer: the states to start from.
    """

    def __init__(self, device, starts=None):
        self.device, self.starts, self.seen, self.begun = device, starts, [], []

    def train(self, phases, rows, class_index, plan, n_classes, generator, monitor):
        """In place of ``training._train``: without stop scores."""
        modules = list(dict.fromkeys(module for phase in phases for module in phase.modules))
        if self.starts is not None:
            for module, state in zip(modules, self.starts[len(self.begun)], strict=True):
                module.load_state_dict(state)
        self.begun.append([{name: t.detach().clone() for name, t in module.state_dict().items()} for module in modules])
        self.name = f"{self.kind}, {plan.description}"
        return self.original(phases, rows, class_index, plan, n_classes, generator, None)

    def one(self, run, number):
        """In place of ``Run._one``: looks at the clock in the middle and at the end."""
        half = run.plan.n_steps // 2
        if number == half - PROFILED:
            self.profiler = (
                profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) if self.device.type == "cuda" else None
            )
            if self.profiler:
                self.profiler.start()
        if number == half:
            self.wait()
            self.seen.append({"training": self.name, "launches": self.launches()})
            self.start = time.perf_counter()
        curves = self.one_original(run, number)
        if number == run.plan.n_steps - 1:
            self.wait()
            steps = run.plan.n_steps - half
            recorded = isinstance(run.take_step, graphs.RecordedStep) and len(run.take_step.recordings)
            self.seen[-1] |= {"steps_per_s": steps / (time.perf_counter() - self.start), "graphs": recorded or 0}
            self.seen[-1]["weights"] = [p.detach().double().cpu() for o in run.stage.optimisers for p in o.parameters]
        return curves

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def launches(self):
        """(kernels and copies, graphs) launched per step, or None on a CPU."""
        if self.profiler is None:
            return None
        self.profiler.stop()
        counts = {event.key: event.count for event in self.profiler.key_averages()}
        single = sum(counts.get(name, 0) for name in LAUNCHES)
        return single / PROFILED, counts.get("cudaGraphLaunch", 0) / PROFILED

    def watch(self, kind, generator, X, y):
        """Fit, observed."""
        self.kind, self.original, self.one_original = kind, training._train, training.Run._one
        training._train, training.Run._one = self.train, lambda run, number: self.one(run, number)
        try:
            generator.fit(X, y)
        finally:
            training._train, training.Run._one = self.original, self.one_original


def observed(a, recorded, starts=None):
    """An `Observer` that has seen all trainings."""
    before = graphs.EAGER_STEPS
    graphs.EAGER_STEPS = before if recorded else a.steps + 1  # both read the same numbers from the device
    observer = Observer(torch.device(a.device), starts)
    common = {"max_steps": a.steps, "random_state": a.seed, "device": a.device}
    gan = {"min_adversarial_size": 10, **common}
    try:
        with graphs.recorded_steps(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", TrainingWarning)  # why something was not recorded
            observer.watch("table", ConditionalGAN(**gan), *table(a.rows, np.random.default_rng(a.seed)))
            observer.watch("images", ConditionalGAN(**gan), *images(a.images))
            observer.watch("warps", WarpVAE(**common), *images(a.images))
    finally:
        graphs.EAGER_STEPS = before
    return observer


def main(a):
    eager = observed(a, recorded=False)
    recorded = observed(a, recorded=True, starts=eager.begun) if torch.device(a.device).type == "cuda" else None
    found = []
    for i, one in enumerate(eager.seen):
        line = {
            "training": one["training"],
            "eager_steps_per_s": round(one["steps_per_s"], 1),
            "eager_launches": one["launches"],
        }
        if recorded:
            other = recorded.seen[i]
            line |= {
                "recorded_steps_per_s": round(other["steps_per_s"], 1),
                "recorded_launches": other["launches"],
                "graphs": other["graphs"],
                "largest_difference": largest(one["weights"], other["weights"]),
                "largest_weight": max(float(p.abs().max()) for p in one["weights"] if p.numel()),
            }
        found.append(line)
    machine = torch.cuda.get_device_name() if recorded else "cpu"
    print(json.dumps({"device": machine, "torch": torch.__version__, **vars(a), "trainings": found}, indent=1))


def largest(one, other):
    return max(float((p - q).abs().max()) for p, q in zip(one, other, strict=True) if p.numel())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--steps", type=int, default=1000, help="of each training; judges take fewer")
    parser.add_argument("--rows", type=int, default=10_000, help="of the table")
    parser.add_argument("--images", type=int, default=1797)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    if a.steps < graphs.FEWEST_STEPS and torch.device(a.device).type == "cuda":
        parser.error(f"--steps must be at least {graphs.FEWEST_STEPS}: shorter trainings are not recorded")
    if a.steps < 2 * PROFILED:
        parser.error(f"--steps must be at least {2 * PROFILED}")
    main(a)
