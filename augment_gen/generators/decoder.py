"""What a fitted generator draws with: a trained network, and the densities that its latents come from."""

import numpy as np
import torch

from augment_gen.latent import LatentDensity
from augment_gen.networks.initialise import rebuild
from augment_gen.seeding import torch_generator


class FittedDecoder:
    """A network in evaluation mode on a device, and one latent density per class.

    Pickles to the CPU, and rebuilds the network from its architecture and weights.

    Parameters
    ----------
    network : nn.Module
        With ``decode(z, condition)``, ``noise(n, rng)`` and ``realise(outputs, noise, temperature)``; with
        ``encode(inputs, condition)`` where `posterior` is wanted, and ``judges`` where `label_probabilities` are.
    codec : Codec
        Fitted; gives the network's inputs.
    density : LatentDensity or None
        None until it has been fitted to what `posterior` returns.
    device : torch.device
    autocast : bool
        Run the network in bfloat16.
    max_rows : int
        Rows in one pass. No result depends on it.
    """

    label_threshold = 0.5  # probability of its label from which the judges let a row pass

    def __init__(self, network, codec, density, device, autocast, max_rows):
        self.network, self.codec, self.density = network, codec, density
        self.device, self.autocast, self.max_rows = device, autocast, max_rows

    def _passes(self, n_rows):
        starts = range(0, max(1, n_rows), self.max_rows)
        return [slice(start, start + self.max_rows) for start in starts]

    def _inputs(self, rows, part, generator):
        return self.codec.inputs({name: tensor[part].to(self.device) for name, tensor in rows.items()}, generator)

    def autocasting(self):
        """A context in which networks run in bfloat16, where that is wanted."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast)

    @torch.no_grad()
    def posterior(self, rows, class_index, generator):
        """Means and standard deviations, float32 arrays (n, latent_dim), of the codec's `rows`; int64 tensor (n,) classes."""
        means, deviations = [], []
        for part in self._passes(len(class_index)):
            with self.autocasting():
                inputs = self._inputs(rows, part, generator)
                mean, log_variance = self.network.encode(inputs, class_index[part].to(self.device))
            means.append(mean.float().cpu())
            deviations.append((0.5 * log_variance.float()).exp().cpu())
        return torch.cat(means).numpy(), torch.cat(deviations).numpy()

    def draw(self, class_index, rng, temperature):
        """What ``codec.decode`` takes, for a block of classes, int64 array (n,); all noise comes from `rng`, in one go."""
        z = torch.from_numpy(self.density.sample(class_index, rng, temperature))
        return self.decode(z, class_index, rng, temperature)

    @torch.no_grad()
    def decode(self, z, class_index, rng, temperature):
        """As `draw`, for given latents, float32 tensor (n, latent_dim)."""
        noise = self.network.noise(len(z), rng)
        condition, parts = torch.from_numpy(np.asarray(class_index)), []
        for part in self._passes(len(z)):
            mine = {name: tensor[part].to(self.device) for name, tensor in noise.items()}
            with self.autocasting():
                outputs = self.network.decode(z[part].to(self.device), condition[part].to(self.device))
            parts.append({name: t.cpu() for name, t in self.network.realise(outputs, mine, temperature).items()})
        return {name: torch.cat([one[name] for one in parts]) for name in parts[0]}

    @torch.no_grad()
    def label_probabilities(self, X):
        """float32 (n, n_classes): the least that any judge says of X in the user's format; None where there are no judges."""
        if not len(getattr(self.network, "judges", ())):
            return None
        rows, parts = self.codec.encode(X), []
        generator = torch_generator(0, self.device)  # the inputs of what has judges hold no noise
        for part in self._passes(len(X)):
            with self.autocasting():
                parts.append(self.network.judges(self._inputs(rows, part, generator)["images"]).cpu())
        return torch.cat(parts).numpy()

    def state(self):
        """JSON values and tensors; `from_state` is its inverse."""
        return {
            "architecture": self.network.architecture,
            "weights": cpu_weights(self.network),
            "density": self.density.state(),
            "max_rows": self.max_rows,
        }

    @classmethod
    def from_state(cls, state, network_class, codec, device, autocast):
        network = placed(rebuild(network_class, state["architecture"], state["weights"]), device)
        return cls(network, codec, LatentDensity.from_state(state["density"]), device, autocast, int(state["max_rows"]))

    def __getstate__(self):
        # as arrays: torch sends the file handles of tensors to a spawned process, but closes those of copies too early
        weights = {name: tensor.numpy() for name, tensor in cpu_weights(self.network).items()}
        return {**self.__dict__, "network": (type(self.network), self.network.architecture, weights)}

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            self.device = torch.device("cpu")
        network_class, architecture, weights = state["network"]
        weights = {name: torch.from_numpy(array) for name, array in weights.items()}
        self.network = placed(rebuild(network_class, architecture, weights), self.device)


def placed(network, device):
    """Ready to draw, with convolutions laid out as in training, which is faster on a CPU as well as a GPU."""
    return network.eval().to(device, memory_format=torch.channels_last)


def cpu_weights(network):
    """The network's weights and buffers by name, on the CPU."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
