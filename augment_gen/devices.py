"""Where and how precisely networks run: device, bfloat16, threads.

Nothing here outlives its caller: a thread limit ends with its with-block.
"""

from contextlib import contextmanager

import torch

from augment_gen.errors import InvalidParameterError


def resolve_device(device):
    """A torch.device from "auto" (CUDA, else Apple's MPS, else the CPU), a string or a torch.device.

    Raises
    ------
    InvalidParameterError
        There is no such device, or not on this machine.
    """
    if device != "auto":
        try:
            if torch.device(device).type == "meta":
                raise RuntimeError("meta tensors hold no numbers")
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise InvalidParameterError(
                f"device={str(device)!r} cannot be used on this machine: {str(error).splitlines()[0]} "
                'Give "auto", "cpu", "cuda", "cuda:1" or "mps".'
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_autocast(precision, device, worthwhile):
    """Whether to run in bfloat16: `precision` is "auto", "float32" or "bfloat16".

    "auto" says yes where the processor multiplies bfloat16 in hardware and the network is `worthwhile` (convolutions:
    measured 1.6 to 2.3 times faster on a CPU with AVX512-BF16; small dense layers gain nothing).
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return worthwhile and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return worthwhile and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


@contextmanager
def at_most_threads(limit):
    """Inside the with-block torch uses at most `limit` threads of the CPU (None: as many as before), behind it as before.

    torch keeps this number for each thread of the caller's, and one for the process, which a thread takes over when it first
    uses torch. So threads do not undo each other's limit, and the process gets its number back; but a thread that first uses
    torch while another is in here keeps the limit, until it calls ``torch.set_num_threads`` itself. Setting the number for
    this thread alone is nothing that torch offers.
    """
    before = torch.get_num_threads()
    if limit is not None and limit < before:
        torch.set_num_threads(limit)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
