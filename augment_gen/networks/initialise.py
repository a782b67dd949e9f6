"""Initial weights from a generator of our own, so that torch's global stream is neither read nor moved."""

import math

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

DRAWING = ("uniform_", "normal_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_")


class Undrawn(TorchFunctionMode):
    """Inside it, in this thread, weights that torch would draw from its global stream are 0.

    Drawing them and putting the stream back would do for one thread, but not for two.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") not in DRAWING:
            return function(*args, **(kwargs or {}))
        with torch.no_grad():
            return (args[0] if args else kwargs["tensor"]).zero_()


def build(network_class, architecture, generator):
    """``network_class(**architecture)`` on the CPU with weights drawn from `generator`.

    Linear and convolution layers get PyTorch's own default (He et al. 2015, uniform with gain 1/sqrt(3)), embeddings a
    normal of standard deviation ``embedding_scale`` where the module has that attribute, else 1. Afterwards
    ``network.after_initialise()`` is called where there is one (zero gains of FiLM layers, say).
    """
    with Undrawn():
        network = network_class(**architecture).float()  # whatever torch's default dtype is at the moment
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                fan_in = module.weight[0].numel() if not isinstance(module, nn.ConvTranspose2d) else _fan_in(module)
                bound = 1 / math.sqrt(max(1, fan_in))
                module.weight.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
                module.weight.normal_(0, getattr(module, "embedding_scale", 1.0), generator=generator)
        for module in network.modules():
            if hasattr(module, "after_initialise"):
                module.after_initialise()
    return network


def rebuild(network_class, architecture, tensors):
    """The network with given weights; nothing is allocated beyond `tensors`, whatever `architecture` claims.

    Raises RuntimeError where names or shapes do not fit, and TypeError where a dtype does not.
    """
    with torch.device("meta"), Undrawn():
        network = network_class(**architecture)
    for name, like in network.state_dict().items():
        if name in tensors and tensors[name].dtype != like.dtype:
            raise TypeError(f"{name} is {tensors[name].dtype}, but the network computes in {like.dtype}")
    network.load_state_dict(tensors, strict=True, assign=True)
    return network


def _fan_in(module):
    return module.in_channels // module.groups * math.prod(module.kernel_size) // math.prod(module.stride)
