"""Damaged and crafted files, made from real ones.

Enters: the bytes of a file that augment_gen or another program wrote, and a source of random decisions with the methods of
``random.Random`` (hypothesis and a coverage-guided fuzzer bring their own). Leaves: other bytes.
"""

import json
import math
import struct

NUMBERS = [-1, 0, 1, 2, 7, 255, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**12, 10**400, -(2**63) - 1, 1e-320, 1e308, -0.5]
WORDS = [
    "", "x", "nan", "inf", "O", "|O", "<U1000000000", "<f8", "<M8[ns]", "i4,i4", "(1000000000,)f8", "U99999", "float32", "load",
    "compile", "__import__", "os.system", "../../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "👩‍🔬", "x" * 100_000,
    "datetime64[ns, dateutil//etc/passwd]", "category", "ndarray", "Tensor", "pil", "list", "meta", "cuda:99", "table", "image",
]  # fmt: skip
TAGGED = [
    {"$": "tensor"}, {"$": "array", "dtype": "O"}, {"$": "array", "dtype": "<U1000000000"}, {"$": "float", "value": "1e999"},
    {"$": "float", "value": "nan"}, {"$": []}, {"numpy": "<U1000000000"}, {"numpy": "V8"}, {"pandas": "U1000000000"},
    {"categories": {"dtype": {"numpy": "O"}, "values": [[], {}]}, "ordered": 7}, {"period": ["2020", "Q" * 150]},
    {"tuple": [1, {"tuple": []}]}, {"timestamp": "now"}, {"interval": [0, 1, "up"]}, {"torch": "load"}, {"missing": "NaT"},
]  # fmt: skip
ENTRIES = [b"\0", b"\xff", b'"', b"\n", b",", b"\r", b";", b"\t", b"{", b"[", b"NaN", b"1e999", b"9" * 400, b"\xef\xbb\xbf"]


def any_value(rng):
    """A JSON value that nobody expects."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(NUMBERS)
    if kind == 1:
        return rng.choice(WORDS)
    if kind == 2:
        return rng.choice(TAGGED)
    if kind == 3:
        return rng.choice([None, True, False, [], {}, [[]], [{}], math.nan, math.inf])
    if kind == 4:
        return [rng.choice(NUMBERS + WORDS[:20]) for _ in range(rng.randrange(4))]
    nested = rng.choice(NUMBERS + WORDS[:4])
    for _ in range(rng.choice([1, 3, 50, 500])):
        nested = [nested] if rng.randrange(2) else {rng.choice(["$", "a", "dtype", "values"]): nested}
    return nested


def damaged_bytes(content, rng):
    """Bytes cut off, turned, repeated, replaced or put in."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        place = rng.randrange(max(1, len(content)))
        kind = rng.randrange(6)
        if kind == 0:
            del content[place:]
        elif kind == 1 and content:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            content[place : place + rng.choice([1, 4, 8])] = rng.choice([b"\0", b"\xff", b"\x7f"]) * rng.choice([1, 4, 8])
        elif kind == 3:
            content[place:place] = rng.choice(ENTRIES)
        elif kind == 4:
            other = rng.randrange(max(1, len(content)))
            content[place:place] = content[other : other + rng.choice([1, 16, 400])]
        else:
            del content[place : place + rng.choice([1, 2, 50])]
    return bytes(content)


def damaged_json(value, rng, changes=None):
    """A copy of `value` in which something is replaced, removed, renamed or put twice, anywhere."""
    value = json.loads(json.dumps(value))
    for _ in range(changes or rng.choice([1, 1, 1, 2, 3])):
        holders = list(_holders(value))
        if not holders:
            return any_value(rng)
        holder, key = rng.choice(holders)
        kind = rng.randrange(8)
        if kind == 0 and isinstance(holder, dict):
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice([*WORDS[:6], "decode", "__class__", "_value"])] = holder[key]
        elif kind in (0, 1):
            holder[key:key] = [holder[key]] * rng.choice([1, 1, 5])
        elif kind == 2:
            other, there = rng.choice(holders)
            holder[key] = json.loads(json.dumps(other[there]))
        elif kind == 3 and type(holder[key]) in (int, float):
            holder[key] = rng.choice([holder[key] + 1, holder[key] - 1, -holder[key], holder[key] * 10, float(holder[key])])
        else:
            holder[key] = any_value(rng)
    return value


def _holders(value):
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _holders(value[key])


def unpacked(content):
    """Header (a dict), our own header within it, and the tensors' bytes, of a safetensors file."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["augment_gen"]), content[8 + length :]


def packed(header, ours, body):
    """The inverse of `unpacked`."""
    text = ours if isinstance(ours, str) else json.dumps(ours)
    header = {**header, "__metadata__": {**header.get("__metadata__", {}), "augment_gen": text}}
    encoded = json.dumps(header, ensure_ascii=True).encode()
    return struct.pack("<Q", len(encoded)) + encoded + body


def damaged_safetensors(content, rng):
    """One of our model or pool files, damaged as bytes, in its header, in its state, in a tensor's claims or values."""
    kind = rng.randrange(8)
    if kind == 0:
        return damaged_bytes(content, rng)
    header, ours, body = unpacked(content)
    names = [name for name in header if name != "__metadata__"]
    if kind == 1:
        place = rng.randrange(8 + len(json.dumps(header)))
        return damaged_bytes(content[: 8 + place], rng) + content[8 + place :]
    if kind == 2 and names:
        name = rng.choice(names)
        header[name] = damaged_json(header[name], rng)
        return packed(header, ours, body)
    if kind == 3 and names:
        return packed(_reshaped(header, rng.choice(names), rng), ours, body)
    if kind == 4 and body:
        body = bytearray(body)
        start = rng.randrange(len(body)) // 8 * 8
        body[start : start + 8] = rng.choice(
            [struct.pack("<d", value) for value in (math.nan, math.inf, 1e308, -1.0, 5.0)]
            + [struct.pack("<ff", value, value) for value in (math.nan, math.inf, 3e38, -7.0)]
            + [struct.pack("<q", value) for value in (-1, 0, 10**6, 2**62, -(2**63))]
        )[: len(body) - start]
        return packed(header, ours, bytes(body))
    return packed(header, {**ours, "state": damaged_json(ours["state"], rng)}, body)


def _reshaped(header, name, rng):
    """The same bytes of a tensor as another shape or dtype."""
    tensor = dict(header[name])
    n_bytes = tensor["data_offsets"][1] - tensor["data_offsets"][0]
    dtypes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "U64": 8}
    fitting = [dtype for dtype, size in dtypes.items() if n_bytes % size == 0]
    tensor["dtype"] = rng.choice([tensor["dtype"], rng.choice(fitting)])
    n = n_bytes // dtypes.get(tensor["dtype"], n_bytes or 1)
    shapes = [[n], [n, 1], [1, n], [1, 1, n], [n, 1, 1, 1], [*reversed(tensor["shape"])], [2, n // 2] if n % 2 == 0 else [n]]
    shapes += [[0, 2**62], [2**62, 0], [0], []] if not n else []
    tensor["shape"] = rng.choice(shapes)
    return {**header, name: tensor}
