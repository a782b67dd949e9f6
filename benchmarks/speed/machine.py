"""What the figures were measured on: processor, accelerator and versions; nothing that names the machine or its owner."""

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

PACKAGES = ("augment-gen", "torch", "numpy", "pandas", "scikit-learn", "imbalanced-learn", "ctgan", "rdt")


def describe(device, threads):
    """A JSON-able dict."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    found = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "bf16_instructions": [name for name in ("avx512_bf16", "amx_bf16") if capabilities.get(name)],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }
    if device.startswith("cuda"):
        found["gpu"], found["cuda"] = torch.cuda.get_device_name(device), torch.version.cuda
    return found


def busy():
    """Load average of the last minute per core: above 1, other work slows what is measured."""
    return round(os.getloadavg()[0] / os.cpu_count(), 2)


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
