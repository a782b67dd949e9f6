"""Small fits of every generator and modality in processes of their own, which tests kill and interrupt."""

import hashlib
import json
import multiprocessing
import os
import resource
import signal
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine

import augment_gen
from augment_gen import ConditionalGAN, ConditionalVAE, ElasticWarp, WarpVAE, checkpoints
from augment_gen.errors import TrainingInterruptedWarning

DIGITS = load_digits(n_class=3)
IMAGES = (DIGITS.images[:60] * 15).astype(np.uint8), DIGITS.target[:60]
TABLE = load_wine(return_X_y=True)
KINDS = {
    "vae table": (ConditionalVAE, TABLE, {}),
    "gan table": (ConditionalGAN, TABLE, {"min_adversarial_size": 1}),
    "vae images": (ConditionalVAE, IMAGES, {"width": 4, "max_steps": 30}),
    "gan images": (ConditionalGAN, IMAGES, {"width": 4, "max_steps": 30, "min_adversarial_size": 1}),
    "warp images": (WarpVAE, IMAGES, {"width": 4, "max_steps": 30}),
    "elastic images": (ElasticWarp, IMAGES, {"width": 4, "max_steps": 30}),
}

context = multiprocessing.get_context("forkserver")  # torch is imported once, and no process inherits its threads
context.set_forkserver_preload(["augment_gen.generators.keeping", "augment_gen.generators", "sklearn.datasets"])


def make(kind, **params):
    """An unfitted generator, and the X and y for it."""
    generator, rows, settings = KINDS[kind]
    return generator(**{"max_steps": 60, "random_state": 0, "device": "cpu", **settings, **params}), *rows


def digest(generator):
    """Of the weights, the curves, and rows drawn from the fitted stream and from a seed."""
    found = hashlib.sha256()
    for name, tensor in generator.decoder_.network.state_dict().items():
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    found.update(generator.history_.to_csv().encode() + generator.latent_report_.to_csv().encode())
    for random_state in (None, 0):
        found.update(np.ascontiguousarray(generator.sample(30, random_state=random_state)[0]).tobytes())
    return found.hexdigest()


def often():
    """Write a checkpoint whenever there can be one."""
    checkpoints.EVERY, checkpoints.MOST_TIME = 0, 1e9


def fit(report, kind, checkpoint_dir=None, max_file_size=None, **params):
    """Fit, and write to the file `report` what came of it."""
    often()
    if max_file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    generator, X, y = make(kind, **params)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generator.fit(X, y, checkpoint_dir=checkpoint_dir)
    _write(report, {"digest": digest(generator), "warnings": [str(warning.message) for warning in caught]})


def fit_until_interrupted(report, kind, **params):
    """Fit, be interrupted from outside, and check whatever is left then; writes what became of it to the file `report`."""
    generator, X, y = make(kind, **params)
    before, threads = dict(vars(generator)), torch.get_num_threads()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs are started without
    fitted, caught = None, []
    Path(f"{report}.started").touch()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = generator.fit(X, y)
        listens = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        listens = signal.signal(signal.SIGINT, signal.SIG_IGN)
        outcome = "raised" if fitted is None else "too late"
    else:
        kept = any(issubclass(warning.category, TrainingInterruptedWarning) for warning in caught)
        outcome = "kept" if kept else "finished"
    assert listens is signal.default_int_handler, "the handler from before is back"
    assert torch.is_grad_enabled() and torch.get_num_threads() == threads and torch.get_default_dtype() == torch.float32
    n_steps = 0
    if outcome == "raised":
        assert vars(generator) == before, "a fit that came to nothing leaves the estimator as it was"
    else:
        labels = generator.classes_[np.arange(20) % len(generator.classes_)]
        X_new, y_new = generator.sample(y=labels)
        assert (y_new == labels).all() and X_new.shape == (20, *X.shape[1:]) and np.isfinite(X_new).all()
        generator.save(f"{report}.safetensors")
        again = augment_gen.load(f"{report}.safetensors").sample(5, random_state=0)[0]
        assert (again == generator.sample(5, random_state=0)[0]).all()
        n_steps = int(generator.history_["step"].max()) if len(generator.history_) else 0
    _write(report, {"outcome": outcome, "n_steps": n_steps})


def start(target, *arguments, **options):
    process = context.Process(target=target, args=arguments, kwargs=options)
    process.start()
    return process


def run(target, report, *arguments, **options):
    """Run `target` in a process of its own to its end; returns what it reported."""
    process = start(target, report, *arguments, **options)
    process.join()
    assert process.exitcode == 0
    return json.loads(Path(report).read_text())


def _write(report, found):
    aside = Path(f"{report}.{os.getpid()}")
    aside.write_text(json.dumps(found))
    aside.replace(report)
