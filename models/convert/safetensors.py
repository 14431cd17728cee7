"""The safetensors format: tensors and a few strings in one file that holds no code.

A length (8 bytes, little-endian), that many bytes of JSON which give every tensor its type, shape and
place, then the raw numbers. Only what training needs, and nothing of a file is believed unchecked.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, BinaryIO

import torch
from torch import Tensor

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_METADATA = "__metadata__"
_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 8  # bytes; where the numbers begin
MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def write(file: BinaryIO, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors, the widest type first so that each lies at a multiple of its own size."""
    header: dict[str, Any] = {_METADATA: metadata} if metadata else {}
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    end = 0
    for name in order:
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(_LENGTH.pack(len(text)) + text)
    for name in order:
        file.write(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def read(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the strings of a file.

    Raises:
        ValueError: It is truncated, or contradicts itself; the message says where.
    """
    header, data = _split(content)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"{_METADATA} is not a table of strings")
    tensors: dict[str, Tensor] = {}
    places = []
    for name, entry in header.items():
        dtype, shape, start, end = _entry(name, entry)
        places.append((start, end))
        if end - start != math.prod(shape) * dtype.itemsize or end > len(data):
            raise ValueError(f"{name}: {shape} of {dtype} does not lie at {start}-{end} of {len(data)} bytes")
        part = bytearray(data[start:end])  # a copy that torch may write to
        tensors[name] = (
            torch.frombuffer(part, dtype=dtype) if part else torch.empty(0, dtype=dtype)
        ).reshape(shape)
    if _gaps(places, len(data)):
        raise ValueError("the tensors overlap, or leave bytes that belong to none")
    return tensors, metadata


def _split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    if len(content) < _LENGTH.size:
        raise ValueError("truncated before its header")
    (length,) = _LENGTH.unpack_from(content)
    if length > min(MAX_HEADER_BYTES, len(content) - _LENGTH.size):
        raise ValueError(f"truncated, or no safetensors file: a header of {length:,} bytes")
    try:
        text = content[_LENGTH.size : _LENGTH.size + length].decode()
        header = json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ValueError("the header is nested too deeply") from None
    if isinstance(header, dict):
        return header, memoryview(content)[_LENGTH.size + length :]
    raise ValueError("the header is not a table")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("the header names something twice")
    return table


def _entry(name: str, entry: Any) -> tuple[torch.dtype, list[int], int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name}: want dtype, shape and data_offsets")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise ValueError(f"{name}: type {entry['dtype']!r}, want one of {', '.join(_DTYPES)}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{name}: shape {shape!r} at {offsets!r}")
    return dtype, shape, offsets[0], offsets[1]


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _gaps(places: list[tuple[int, int]], size: int) -> bool:
    """Tell whether the places, put in order, do anything but follow one another up to the end."""
    ordered = sorted(places)
    starts = [start for start, _ in ordered] + [size]
    ends = [0] + [end for _, end in ordered]
    return starts != ends
