"""What synthetic samples say about themselves: which model drew them, from which seed, and that they are synthetic.

Enters: a generator or its file, and a seed. Leaves: JSON that lies in a PNG's text chunk, in a Parquet file's metadata or
beside a CSV file, and that `read_provenance` finds again.
"""

import hashlib
import json
import tempfile
import warnings
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from PIL import Image, PngImagePlugin

from augment_gen.errors import InvalidDataError, InvalidRequestError

# IPTC's term for media made by a trained model; C2PA and schema.org use the same vocabulary
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
KEY = "augment_gen"  # of the text chunk, and of the entry in a Parquet file's metadata
LONGEST = 2**20  # bytes of a record
SIDECAR = ".provenance.json"  # what the name of the file beside a CSV file ends in


@dataclass(frozen=True)
class Provenance:
    """Where synthetic samples come from. It holds no date, so that the same seed gives the same files, byte for byte.

    Attributes
    ----------
    generator : str
        Name of the generator's class.
    model : str
        SHA-256 of the model file, as ``sha256sum`` prints it.
    seed : int
    version : str
        Of augment_gen.
    """

    generator: str
    model: str
    seed: int
    version: str

    @classmethod
    def of(cls, generator, seed, path=None):
        """Of what a fitted `generator` draws with ``random_state=seed``; `path` is its file, where it has one."""
        from augment_gen import __version__

        model = file_hash(path) if path else model_hash(generator)
        return cls(type(generator).__name__, model, checked_seed(seed), __version__)

    def record(self, **more):
        """Everything as a JSON-able dict; `more` is what the sample itself adds, such as its label."""
        return {"digitalSourceType": SYNTHETIC, "software": f"augment_gen {self.version}", **vars(self), **more}


def checked_seed(seed):
    """`seed` as an int; raises where the same samples could not be drawn from it again."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise InvalidRequestError(f"seed must be a non-negative int, so that the samples can be drawn again; got {seed!r}.")
    return int(seed)


def file_hash(path):
    """SHA-256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_hash(generator):
    """`file_hash` of the file that ``generator.save`` would write now."""
    with tempfile.TemporaryDirectory() as folder:
        generator.save(Path(folder) / "model.safetensors")
        return file_hash(Path(folder) / "model.safetensors")


def png_chunk(record):
    """A dict as what Pillow's ``save(pnginfo=)`` takes: an iTXt chunk, which is UTF-8."""
    chunk = PngImagePlugin.PngInfo()
    chunk.add_itxt(KEY, json.dumps(record, ensure_ascii=False))
    return chunk


def read_provenance(path):
    """The record, a dict, in a PNG or Parquet file, or in the file beside a CSV file; None where there is none.

    Raises
    ------
    FileNotFoundError
    InvalidDataError
        The image or Parquet file is damaged.
    """
    path = Path(path)
    try:
        record = _parsed(_record_text(path))
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # Pillow and Arrow raise nearly anything for a damaged file
        raise InvalidDataError(f"{path.name} is damaged or cut short ({error}).") from error
    return record if isinstance(record, dict) else None


def _record_text(path):
    suffix = path.suffix.lower()
    if suffix == ".png":
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=["PNG"]) as image:
            return image.info.get(KEY)
    if suffix == ".parquet":
        from pyarrow import parquet

        return (parquet.read_schema(path).metadata or {}).get(KEY.encode())
    sidecar = path.with_name(path.name + SIDECAR)
    if not sidecar.is_file() or sidecar.stat().st_size > LONGEST:
        return None
    return sidecar.read_bytes()


def _parsed(text):
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):  # somebody else's text under the same name
        return None
