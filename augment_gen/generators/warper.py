"""What a fitted warp generator draws with: the training images themselves, and deformations to apply to them."""

import numpy as np
import pandas as pd
import torch

from augment_gen.generators.decoder import cpu_weights, placed
from augment_gen.networks.initialise import rebuild
from augment_gen.seeding import torch_generator


class PooledPosterior:
    """Latents of deformations, pooled over all classes: which deformations occur is what the classes share.

    Parameters
    ----------
    means, deviations : float32 arrays (m, latent_dim)
        A latent is drawn from one of the m normal distributions.
    """

    def __init__(self, means, deviations):
        self.means, self.deviations = means, deviations

    @classmethod
    def standard(cls, latent_dim):
        """One standard normal distribution."""
        return cls(np.zeros((1, latent_dim), np.float32), np.ones((1, latent_dim), np.float32))

    def sample(self, n_rows, rng, temperature):
        """float32 (n_rows, latent_dim); a `temperature` below 1 gives smaller deformations."""
        noise = rng.standard_normal((n_rows, self.means.shape[1]))
        pair = (rng.random(n_rows) * len(self.means)).astype(int)
        return (temperature * (self.means[pair] + self.deviations[pair] * noise)).astype(np.float32)


class FittedWarper:
    """Exemplars and a network that deforms them, on a device; drawn from by class like a `FittedDecoder`.

    Pickles to the CPU, and rebuilds the network from its architecture and weights.

    Parameters
    ----------
    network : DeformationVAE or ElasticField
        In evaluation mode.
    codec : Codec
        Fitted; gives the network's inputs.
    posterior : PooledPosterior
    strength : float
        Factor on every deformation.
    label_threshold : float
        Probability of its label from which a judge lets an image pass.
    device : torch.device
    autocast : bool
        Run the network in bfloat16.
    max_rows : int
        Images in one pass. No result depends on it.

    Attributes
    ----------
    exemplars : tensor (n, C, H, W)
        Training images as the codec encodes them, in the order of their classes.
    counts : int64 array (n_classes,)
    """

    def __init__(self, network, codec, posterior, strength, label_threshold, device, autocast, max_rows):
        self.network, self.codec, self.posterior = network, codec, posterior
        self.strength, self.label_threshold = strength, label_threshold
        self.device, self.autocast, self.max_rows = device, autocast, max_rows

    def keep_exemplars(self, images, class_index, n_classes):
        """Images (n, C, H, W) and their classes, int64 tensor (n,), to draw from; returns self."""
        self.exemplars = images[torch.argsort(class_index, stable=True)].contiguous()
        self.counts = torch.bincount(class_index, minlength=n_classes).numpy()
        return self

    @property
    def density(self):
        """Itself: what `report` is asked of."""
        return self

    def report(self, labels):
        """DataFrame, one line per class: label, n_real, density, n_components (exemplars)."""
        return pd.DataFrame({"label": labels, "n_real": self.counts, "density": "warp", "n_components": self.counts})

    def draw(self, class_index, rng, temperature):
        """What ``codec.decode`` takes, for a block of classes, int64 array (n,); all noise comes from `rng`, in one go."""
        z = torch.from_numpy(self.posterior.sample(len(class_index), rng, temperature))
        start = np.cumsum(self.counts) - self.counts
        number = start[class_index] + (rng.random(len(class_index)) * self.counts[class_index]).astype(int)
        return {"images": self.warped(self.exemplars[torch.from_numpy(number)], z)}

    @torch.no_grad()
    def warped(self, images, z):
        """float32 tensor (n, C, H, W) in [0, 1]: `images`, encoded, deformed as latents (n, latent_dim) say."""
        if not len(z):
            return torch.zeros(0, *images.shape[1:])
        parts = []
        for part in self._passes(len(z)):
            inputs = self.codec.inputs({"images": images[part].to(self.device)}, None)["images"]
            with self._autocasting():
                flow = self.network.flow(inputs, z[part].to(self.device))
            parts.append(self.network.warp(inputs, self.strength * flow).clamp(0, 1).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def displacement(self, n_rows, rng):
        """Root mean square of how far pixels move, across and down each, as a share of the image's width and height."""
        z = torch.from_numpy(self.posterior.sample(n_rows, rng, 1.0))
        images, squares = self.exemplars[rng.integers(len(self.exemplars), size=n_rows)], []
        for part in self._passes(n_rows):
            inputs = self.codec.inputs({"images": images[part].to(self.device)}, None)["images"]
            flow = self.strength * self.network.flow(inputs, z[part].to(self.device))
            squares.append(self.network.warp.field(flow).square().mean((1, 2, 3)).cpu())
        return 0.5 * float(torch.cat(squares).mean()) ** 0.5

    @torch.no_grad()
    def label_probabilities(self, X):
        """float32 (n, n_classes): the least that any judge says of X in the user's format; None where there are no judges."""
        if not len(self.network.judges):
            return None
        rows, parts, generator = self.codec.encode(X), [], torch_generator(0, self.device)
        for part in self._passes(len(X)):
            inputs = {name: tensor[part].to(self.device) for name, tensor in rows.items()}
            with self._autocasting():
                parts.append(self.network.judges(self.codec.inputs(inputs, generator)["images"]).cpu())
        return torch.cat(parts).numpy()

    def _passes(self, n_rows):
        starts = range(0, max(1, n_rows), self.max_rows)
        return [slice(start, start + self.max_rows) for start in starts]

    def _autocasting(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast)

    def state(self):
        """JSON values and tensors; `from_state` is its inverse."""
        return {
            "architecture": self.network.architecture,
            "weights": cpu_weights(self.network),
            "exemplars": self.exemplars,
            "counts": self.counts,
            "means": self.posterior.means,
            "deviations": self.posterior.deviations,
            "strength": self.strength,
            "label_threshold": self.label_threshold,
            "max_rows": self.max_rows,
        }

    @classmethod
    def from_state(cls, state, network_class, codec, device, autocast):
        network = placed(rebuild(network_class, state["architecture"], state["weights"]), device)
        posterior = PooledPosterior(state["means"], state["deviations"])
        strength, threshold = float(state["strength"]), float(state["label_threshold"])
        self = cls(network, codec, posterior, strength, threshold, device, autocast, int(state["max_rows"]))
        self.exemplars, self.counts = state["exemplars"], np.asarray(state["counts"])
        return self

    def __getstate__(self):
        # as arrays: torch sends the file handles of tensors to a spawned process, but closes those of copies too early
        weights = {name: tensor.numpy() for name, tensor in cpu_weights(self.network).items()}
        network = type(self.network), self.network.architecture, weights
        return {**self.__dict__, "network": network, "exemplars": self.exemplars.numpy()}

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            self.device = torch.device("cpu")
        self.exemplars = torch.from_numpy(state["exemplars"])
        network_class, architecture, weights = state["network"]
        weights = {name: torch.from_numpy(array) for name, array in weights.items()}
        self.network = placed(rebuild(network_class, architecture, weights), self.device)
