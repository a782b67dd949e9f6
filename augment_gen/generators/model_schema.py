"""What a model file holds, part by part, and how large each part may be in terms of the others.

Enters: the state of a file. Leaves: nothing, or a `ModelFileError`. It is checked before any part is built. What a number
claims (classes, widths, columns) is the size of an array that is there, so a file cannot ask for more than it brings.
"""

import numpy as np
import torch

from augment_gen.codecs.image import FORMAT
from augment_gen.errors import ModelFileError
from augment_gen.schema import AnyOf, Array, Every, Fields, Maybe, Real, Scalar, Text, Truth, Whole, check, refuse

PASS_ROWS = Whole(1, 2**31)
LATENT = Whole(1, 2**20, size="latent_dim")
N_CLASSES = Whole(1, 2**31, size="n_classes")
NORM = Text(("batch", "group"))

PER_CLASS_REPORT = AnyOf((Array("bif", "n_classes", finite=False), Every(Scalar(), "n_classes")))
CURVE = AnyOf((Array("bif", "n_curve", finite=False), Every(Scalar(), "n_curve")))

CONDITIONS = Fields(
    {
        "counts": Array("i", "n_classes", low=0),
        "kind": Text(("series", "frame", "categorical", "tensor", "list", "array", "indicator")),
        "name": Maybe(AnyOf((Scalar(), Fields({})))),
        "classes": Fields({"dtype": Fields({})}),
        "dtype": Fields({}),
    }
)

DENSITY = AnyOf(
    (
        Fields(
            {
                "name": Text(("mixture", "gaussian", "prior")),
                "n_rows": Whole(),
                "weights": Array("f", "c", low=0),
                "means": Array("f", "c", "latent_dim"),
                "spreads": Array("f", "c", "latent_dim", "latent_dim"),
            }
        ),
        Fields(
            {
                "name": Text(("interpolation",)),
                "n_rows": Whole(),
                "means": Array("f", "m", "latent_dim"),
                "deviations": Array("f", "m", "latent_dim"),
                "neighbours": Array("i", "m", "n_neighbours", low=0, below="m"),
            }
        ),
        Fields(
            {
                "name": Text(("exemplar", "jitter")),
                "n_rows": Whole(),
                "means": Array("f", "m", "latent_dim"),
                "deviations": Array("f", "m", "latent_dim"),
                "spread": Array("f", "latent_dim", "latent_dim"),
            }
        ),
    )
)

NOVELTY = Fields(
    {
        "reference_": Every(AnyOf((Array("f", "r", "n_vector"), Array("u", "r"))), "n_classes"),
        "threshold_": Array("f", "n_classes"),
        "natural_share_": Array("f", "n_classes", low=0),
        "near_share_": Array("f", "n_classes", finite=False),
        "keep_probability_": Array("f", "n_classes", low=0),
    }
)

SCREENING = Fields(
    {
        "novelty": Maybe(NOVELTY),
        "label": Maybe(
            Fields(
                {"applies_": Array("b", "n_classes"), "rejected_share_": Array("f", "n_classes", finite=False)},
                {"threshold": Real(0, 1), "min_recall": Real(0, 1)},
            )
        ),
        "diversity": Array("f", "n_classes", finite=False),
    },
    {"copies": Maybe(Fields({"fingerprints_": Array("u", "n_fingerprints")}))},
)

RELEASE = Fields(
    {"name": Text(), "noise_multiplier": Real(0), "sampling_rate": Real(0, 1), "n_steps": Whole(), "epsilon": Real(0)}
)
PRIVACY = Fields(
    {"epsilon": Real(0), "delta": Real(0, 1), "clip": Real(0), "releases": Every(RELEASE), "public": Every(Text())}
)

MODEL = Fields(
    {
        "generator": Text(),
        "modality": Text(),
        "network": Text(),
        "params": Fields({"device": Text()}),
        "conditions": CONDITIONS,
        "stream": Fields({"state": Whole(0, 2**128 - 1), "inc": Whole(0, 2**128 - 1)}),
        "n_features_in": Whole(),
        "feature_names_in": Every(Text()),
        "sampling_strategy": Every(Whole(), "n_sampled"),
        "sampling_labels": Array("i", "n_sampled", low=0, below="n_classes"),
        "codec": Fields({}),
        "autocast": Truth(),
        "decoder": Fields({"architecture": Fields({}), "max_rows": PASS_ROWS}),
        "screening": SCREENING,
        "history": Fields({}),
        "report": Fields({}),
    },
    {"privacy": Maybe(PRIVACY)},
)

LAYOUT = Fields(
    {
        "gaussian": Truth(),
        "blocks": Every(
            Fields(
                {
                    "name": Text(),
                    "size": Whole(1, 2**24),
                    "scalar": Truth(),
                    "first_continuous": Whole(0, 2**24),
                    "n_continuous": Whole(0, 2**24),
                }
            )
        ),
    }
)

IMAGES = {"n_channels": Whole(size="channels"), "height": Whole(size="height"), "width": Whole(size="width")}
IMAGE_NETWORK = {**IMAGES, "n_classes": N_CLASSES, "first_channels": Whole(1, 2**16), "norm": NORM}
JUDGES = Whole(0, 64)

LATENT_DECODER = {"density": Fields({"method": Text(), "rule": Fields({}), "classes": Every(DENSITY, "n_classes")})}
WARPER = {
    "exemplars": Array("uf", "n_exemplars", "channels", "height", "width", low=0, tensor=True),
    "counts": Array("i", "n_classes", low=1),
    "means": Array("f", "m", "latent_dim"),
    "deviations": Array("f", "m", "latent_dim"),
    "strength": Real(),
    "label_threshold": Real(0, 1),
}
TABLE_VAE = {
    "layout": LAYOUT,
    "n_classes": N_CLASSES,
    "latent_dim": LATENT,
    "width": Whole(1, 2**20),
    "n_layers": Whole(1, 256),
    "sigma_floor": Real(1e-6, 1),
}

# what draws: by the generator and what it draws, its network, and the rest of its state
NETWORKS = {
    ("ConditionalVAE", "table"): ("TableVAE", TABLE_VAE, LATENT_DECODER),
    ("ConditionalVAE", "image"): (
        "ConvVAE",
        {**IMAGE_NETWORK, "latent_dim": LATENT, "judge_channels": Whole(0, 2**16), "n_judges": JUDGES},
        LATENT_DECODER,
    ),
    ("WarpVAE", "image"): ("DeformationVAE", {**IMAGE_NETWORK, "latent_dim": LATENT, "n_judges": JUDGES}, WARPER),
    ("ElasticWarp", "image"): ("ElasticField", {**IMAGE_NETWORK, "displacement": Real(), "n_judges": JUDGES}, WARPER),
}
NETWORKS["ConditionalGAN", "table"] = NETWORKS["ConditionalVAE", "table"]
NETWORKS["ConditionalGAN", "image"] = NETWORKS["ConditionalVAE", "image"]


def check_model(state, generators):
    """Raise a `ModelFileError` unless the state of a model file holds together.

    Parameters
    ----------
    state
        As `read_state` read it.
    generators : names of the classes that can be rebuilt
    """
    if isinstance(state, dict) and type(state.get("generator")) is str and state["generator"] not in generators:
        raise ModelFileError(f"The file holds a {state['generator']!r}; this augment_gen knows {', '.join(generators)}.")
    sizes = check(state, MODEL)
    kind = state["generator"], state["modality"]
    if kind not in NETWORKS or NETWORKS[kind][0] != state["network"]:
        refuse("the state/network", "the network of its generator and modality", state["network"])
    if state["modality"] == "image":
        check(state["codec"], FORMAT, "the state/codec", sizes)
    _, architecture, decoder = NETWORKS[kind]
    if set(state["decoder"]["architecture"]) != set(architecture):
        raise ModelFileError("the state/decoder/architecture: parameters of another network.")
    check(state["decoder"]["architecture"], Fields(architecture), "the state/decoder/architecture", sizes)
    check(state["decoder"], Fields(decoder), "the state/decoder", sizes)
    _check_frames(state, sizes)
    _check_weights(state["decoder"].get("weights"))
    if "exemplars" in decoder:
        _check_exemplars(state["decoder"])
    if "layout" in architecture and state["decoder"]["architecture"]["layout"] != state["codec"].get("layout"):
        raise ModelFileError("the state/decoder/architecture/layout: not that of the codec.")


def check_rebuilt(generator):
    """Raise unless the parts of a rebuilt generator work together: it draws a row, and compares it with training rows."""
    codec, screening, one = generator.codec_, generator.screening_, np.zeros(1, np.int64)
    drawn = generator._draw_stage(one, 0, 0, 1.0)
    width = codec.vectors(drawn).shape[1]
    if screening.novelty is not None and any(
        rows.ndim == 2 and rows.shape[1] != width for rows in screening.novelty.reference_
    ):
        raise ModelFileError(f"the state/screening/novelty/reference_: rows of another width than {width}.")
    if (screening.label is None) != (generator.decoder_.label_probabilities(drawn) is None):
        raise ModelFileError("the state/screening/label: a filter by label without a judge, or the other way round.")


def _check_frames(state, sizes):
    for column in state["history"]:
        check(state["history"], Fields({column: CURVE}), "the state/history", sizes)
    for column in state["report"]:
        check(state["report"], Fields({column: PER_CLASS_REPORT}), "the state/report", sizes)


def _check_exemplars(decoder):
    exemplars = decoder["exemplars"]
    if not isinstance(exemplars, torch.Tensor) or exemplars.dtype not in (torch.uint8, torch.float32):
        refuse("the state/decoder/exemplars", "a tensor of uint8 or float32", str(exemplars.dtype))
    if int(decoder["counts"].sum()) != len(exemplars):
        raise ModelFileError("the state/decoder/counts: do not add up to the number of exemplars.")


def _check_weights(weights):
    """Their names, shapes and dtypes are checked where the network is rebuilt."""
    check(weights, Fields({}), "the state/decoder/weights")
    for name, tensor in weights.items():
        if not isinstance(tensor, torch.Tensor):
            refuse(f"the state/decoder/weights/{name}", "a tensor", tensor)
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(f"the state/decoder/weights/{name}: holds NaN or infinity.")
