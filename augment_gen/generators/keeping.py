"""A fitted generator as a file, and back: which class it was, its parameters, and the state of its parts."""

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator

from augment_gen.accounting import PrivacyReport
from augment_gen.codecs import CODECS
from augment_gen.conditioning import ConditionEncoder
from augment_gen.devices import resolve_autocast, resolve_device
from augment_gen.dtypes import scalar_from_json, scalar_to_json
from augment_gen.errors import InvalidParameterError, ModelFileError
from augment_gen.generators.decoder import FittedDecoder
from augment_gen.generators.model_schema import check_model, check_rebuilt
from augment_gen.generators.warper import FittedWarper
from augment_gen.networks.conv import ConvVAE
from augment_gen.networks.mlp import TableVAE
from augment_gen.networks.warp import DeformationVAE, ElasticField
from augment_gen.persistence import read_state, write_state
from augment_gen.sampling.rounds import LatestReport
from augment_gen.sampling.screening import Screening

DECODERS = {TableVAE: FittedDecoder, ConvVAE: FittedDecoder, DeformationVAE: FittedWarper, ElasticField: FittedWarper}
NETWORKS = {network.__name__: network for network in DECODERS}


def save(generator, path):
    """Write a fitted generator to `path`; see `BaseGenerator.save`."""
    write_state(
        path,
        {
            "generator": type(generator).__name__,
            "params": {name: _parameter(name, value) for name, value in generator.get_params(deep=False).items()},
            "stream": generator._stream.bit_generator.state["state"],
            "n_features_in": generator.n_features_in_,
            "feature_names_in": list(getattr(generator, "feature_names_in_", [])),
            "sampling_strategy": list(generator.sampling_strategy_.values()),
            "sampling_labels": generator.conditions_.encode(list(generator.sampling_strategy_)),
            "conditions": generator.conditions_.state(),
            "modality": generator.codec_.modality,
            "codec": generator.codec_.state(),
            "screening": generator.screening_.state(),
            "history": _frame_to_state(generator.history_),
            "privacy": _privacy_report_to_state(generator),
            "report": _frame_to_state(generator.latent_report_.drop(columns="label")),
            "autocast": generator.decoder_.autocast,
            "network": type(generator.decoder_.network).__name__,
            "decoder": generator.decoder_.state(),
        },
    )


def load(path, *, device=None):
    """Read a generator that `save` wrote; it draws the same rows as the saved one would have.

    Nothing in the file is executed. The generator moves to the device that its ``device`` parameter names, or to the CPU
    where that is not there.

    Parameters
    ----------
    path : str or path-like
    device : str or torch.device, optional
        Where to move it instead; becomes its ``device``.

    Returns
    -------
    ConditionalVAE, or whichever generator was saved

    Raises
    ------
    FileNotFoundError
    ModelFileError
        The file is truncated, foreign, damaged, or of a newer format version.
    InvalidParameterError
        `device` is not on this machine.

    Examples
    --------
    >>> import tempfile, augment_gen
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> gen = augment_gen.ConditionalVAE(max_steps=20, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gen.save(f"{folder}/iris.safetensors")
    ...     copy = augment_gen.load(f"{folder}/iris.safetensors")
    >>> bool((copy.sample(3, y=0)[0] == gen.sample(3, y=0)[0]).all())
    True
    """
    from augment_gen.generators import GENERATORS

    state = read_state(path)
    if device is not None:
        resolve_device(device)
    try:
        check_model(state, GENERATORS)
        if device is not None:
            state["params"]["device"] = str(device)
        return _rebuild(GENERATORS, state)
    except MemoryError:
        raise
    except ModelFileError as error:
        raise ModelFileError(f"The model file is damaged: {error}") from error
    except Exception as error:  # whatever a damaged or hostile state trips over, callers get one kind of error
        raise ModelFileError(
            f"The model file is damaged, or of another version of augment_gen: {type(error).__name__}: {error}"
        ) from error


def _rebuild(generators, state):
    generator = generators[state["generator"]](
        **{name: _parameter_from_state(value) for name, value in state["params"].items()}
    )
    generator._validate_params()
    generator.conditions_ = ConditionEncoder.from_state(state["conditions"])
    generator.classes_ = generator.conditions_.classes_
    generator.codec_ = CODECS[state["modality"]].from_state(state["codec"])
    device, network = _device(generator.device), NETWORKS[state["network"]]
    autocast = resolve_autocast(generator.precision, device, worthwhile=state["autocast"])  # not every processor has bfloat16
    generator.decoder_ = DECODERS[network].from_state(state["decoder"], network, generator.codec_, device, autocast)
    generator.screening_ = Screening.from_state(state["screening"], generator.codec_, generator.decoder_)
    generator.history_ = _frame_from_state(state["history"])
    generator.latent_report_ = _frame_from_state(state["report"])
    generator.latent_report_.insert(0, "label", generator.classes_.tolist())
    labels = generator.classes_[state["sampling_labels"]].tolist()
    generator.sampling_strategy_ = dict(zip(labels, state["sampling_strategy"], strict=True))
    if hasattr(generator, "privacy"):
        spent = state.get("privacy")  # not in older files
        generator.privacy_report_ = None if spent is None else PrivacyReport.from_state(spent)
    generator.n_features_in_ = int(state["n_features_in"])
    if state["feature_names_in"]:
        generator.feature_names_in_ = np.array(state["feature_names_in"], dtype=object)
    generator._stream, generator._reports = np.random.default_rng(), LatestReport()
    generator._stream.bit_generator.state = {**generator._stream.bit_generator.state, "state": state["stream"]}
    check_rebuilt(generator)
    return generator


def _device(parameter):
    try:
        return resolve_device(parameter)
    except InvalidParameterError:  # saved on a machine that had this device
        return torch.device("cpu")


def _parameter(name, value):
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, (np.random.RandomState, np.random.Generator)):
        return None  # the stream itself is kept apart
    if isinstance(value, dict) and name == "privacy":
        return _privacy_to_state(value)
    if isinstance(value, dict) and name == "sampling_strategy":
        return {"labels": [scalar_to_json(label) for label in value], "counts": list(value.values())}
    if callable(value) or isinstance(value, BaseEstimator):
        raise ModelFileError(
            f"The parameter {name}={value!r} is code, which a model file must not hold. Set it to a plain value before saving."
        )
    return value


def _parameter_from_state(value):
    if isinstance(value, dict) and set(value) == {"labels", "counts"}:
        return dict(zip(map(scalar_from_json, value["labels"]), value["counts"], strict=True))
    if isinstance(value, dict) and "epsilon" in value:
        return _privacy_from_state(value)
    return value


def _privacy_to_state(given):
    """The parameter ``privacy``, whose bounds may have names and edges of any type."""
    bounds, missing = given.get("bounds", {}), list(given.get("missing", ()))
    named = isinstance(bounds, dict)
    edges = [scalar_to_json(tuple(each)) for each in (bounds.values() if named else [bounds])]
    names = [scalar_to_json(column) for column in bounds] if named else None
    return {**given, "bounds": {"names": names, "edges": edges}, "missing": list(map(scalar_to_json, missing))}


def _privacy_from_state(state):
    names, edges = state["bounds"]["names"], list(map(scalar_from_json, state["bounds"]["edges"]))
    bounds = edges[0] if names is None else dict(zip(map(scalar_from_json, names), edges, strict=True))
    return {**state, "bounds": bounds, "missing": list(map(scalar_from_json, state["missing"]))}


def _privacy_report_to_state(generator):
    report = getattr(generator, "privacy_report_", None)
    return None if report is None else report.state()


def _frame_to_state(frame):
    """Numeric columns as arrays, the others as lists."""
    return {name: column.to_numpy() if column.dtype.kind in "bif" else column.tolist() for name, column in frame.items()}


def _frame_from_state(state):
    return pd.DataFrame({name: pd.Series(column) for name, column in state.items()})
