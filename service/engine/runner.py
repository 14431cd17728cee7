"""Join, step, leave: the decoder's batch as numpy arrays.

Owns the key-value caches. A row is one sentence; rows lie densely, in the order they joined, and closing
up after `leave` keeps that order, so that row i belongs to the i-th running sentence.

Axes: R rows, S source positions, P cache positions, H heads, K width of a head.

Every padded length is a multiple of 8, also for a batch of one: attention in float32 is bit-stable
against padding only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.bundle import Bundle
from service.engine.session import open_sessions
from service.text.tokenizer import BOS_ID, PAD_ID

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float32]
MULTIPLE = 8
MAX_GROUP_TOKENS = 1024  # of one pass through the encoder
FREE = -1  # no forced piece: take the best


class Step(NamedTuple):
    """What one step says about each row."""

    chosen: list[int]
    log_probabilities: list[float]
    attention: Float  # (R, S): of the piece chosen in this step, or in the one before (manifest: shift)


def padded(length: int) -> int:
    """Round a length up to what the graphs are run with."""
    return -(-length // MULTIPLE) * MULTIPLE


class Runner:
    """The decoder rows of one model. Not thread-safe: one loop owns it."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Open the sessions.

        Raises:
            BundleError: onnxruntime cannot run the graphs.
        """
        self._encoder, self._decoder = open_sessions(bundle, threads)
        shape = bundle.manifest.shape
        self._heads, self._width = shape["heads"], shape["width"] // shape["heads"]
        layers = range(shape["decoder_layers"])
        kinds = [(kind, layer) for layer in layers for kind in ("key", "value")]
        self._self_names = [f"self_{kind}_{layer}" for kind, layer in kinds]
        self._cross_names = [f"cross_{kind}_{layer}" for kind, layer in kinds]
        self._outputs = ["chosen", "chosen_log_probability", "attention"]
        self._outputs += [f"new_{kind}_{layer}" for kind, layer in kinds]
        self.clear()

    def clear(self) -> None:
        """Give up all rows, whatever state a failure left them in."""
        self._token: Int = np.zeros(0, np.int64)  # (R,) the piece before
        self._position: Int = np.zeros(0, np.int64)  # (R,) how many pieces stand before the next
        self._source_length: Int = np.zeros(0, np.int64)  # (R,)
        empty = np.zeros((0, self._heads, MULTIPLE, self._width), np.float32)
        self._self: list[Float] = [empty] * len(self._self_names)  # (R, H, P, K) each
        self._cross: list[Float] = [empty] * len(self._cross_names)  # (R, H, S, K) each

    def join(self, sources: Sequence[Sequence[int]]) -> None:
        """Encode some sentences, tag and end included, and give each a row after the present ones."""
        if not sources:
            return
        count = len(sources)
        lengths = np.array([len(source) for source in sources])
        encoded = self._encode(sources)
        self._cross = [_stack(old, new) for old, new in zip(self._cross, encoded, strict=True)]
        blank = np.zeros((count, self._heads, self._self[0].shape[2], self._width), np.float32)
        self._self = [np.concatenate([old, blank]) for old in self._self]
        self._token = np.append(self._token, np.full(count, BOS_ID))
        self._position = np.append(self._position, np.zeros(count, np.int64))
        self._source_length = np.append(self._source_length, lengths)

    def _encode(self, sources: Sequence[Sequence[int]]) -> list[Float]:
        """Return the keys and values of every cross-attention, (R', H, S, K) each.

        Sentences of one padded length go through the encoder together, so that hardly any work is padding,
        in groups that stay in the processor's caches.
        """
        count, longest = len(sources), padded(max(map(len, sources)))
        cross = [np.zeros((count, self._heads, longest, self._width), np.float32) for _ in self._cross_names]
        for group in _groups([padded(len(source)) for source in sources]):
            ids = np.full((len(group), padded(len(sources[group[0]]))), PAD_ID, np.int64)  # (rows, S)
            for place, row in enumerate(group):
                ids[place, : len(sources[row])] = sources[row]
            assert ids.shape[1] % MULTIPLE == 0, "padding decides the last bits. This is a bug."
            encoded = self._encoder.run(self._cross_names, {"source": ids})
            for whole, part in zip(cross, encoded, strict=True):
                whole[group, :, : ids.shape[1]] = part
        return cross

    def step(self, forced: Sequence[int]) -> Step:
        """Advance every row by one piece.

        Args:
            forced: For each row, the piece to take whatever its score, or `FREE`.
        """
        slots = self._position + 1  # slot 0 stands for the present step
        wanted = padded(int(slots.max()) + 1)
        if wanted > self._self[0].shape[2]:
            self._self = [_widen(cache, wanted) for cache in self._self]
        feeds: dict[str, Int | Float] = {
            "token": self._token,
            "position": self._position,
            "forced": np.array(forced, np.int64),
            "num_top": np.ones(1, np.int64),
            "source_length": self._source_length,
        }
        feeds |= dict(zip(self._self_names, self._self, strict=True))
        feeds |= dict(zip(self._cross_names, self._cross, strict=True))
        chosen, log_probabilities, attention, *new = self._decoder.run(self._outputs, feeds)
        for cache, part in zip(self._self, new, strict=True):
            cache[np.arange(len(slots)), :, slots] = part[:, :, 0]
        self._token = chosen
        self._position = self._position + 1
        probable = np.minimum(log_probabilities, 0.0)  # rounding may lift a certainty above it
        return Step(chosen.tolist(), probable.tolist(), attention)

    def leave(self, rows: Sequence[int]) -> None:
        """Give up some rows and close the gaps; what is no longer needed of the padding goes too."""
        if not rows:
            return
        kept = np.setdiff1d(np.arange(len(self._token)), rows)
        self._token, self._position = self._token[kept], self._position[kept]
        self._source_length = self._source_length[kept]
        positions = padded(int(self._position.max(initial=0)) + 1)
        self._self = [cache[kept, :, :positions] for cache in self._self]
        sources = padded(int(self._source_length.max(initial=1)))
        self._cross = [cache[kept, :, :sources] for cache in self._cross]

    def warm_up(self) -> None:
        """Run once what the first callers would otherwise wait for."""
        self.join([[PAD_ID] * MULTIPLE] * 2)
        self.step([FREE] * 2)
        self.leave([0, 1])


def _groups(widths: Sequence[int]) -> list[list[int]]:
    """Return the rows of each width, in groups of at most `MAX_GROUP_TOKENS` positions."""
    groups: list[list[int]] = []
    for row in sorted(range(len(widths)), key=lambda row: widths[row]):
        last = groups[-1] if groups else []
        if last and widths[last[0]] == widths[row] and (len(last) + 1) * widths[row] <= MAX_GROUP_TOKENS:
            last.append(row)
        else:
            groups.append([row])
    return groups


def _widen(cache: Float, length: int) -> Float:
    """Pad the positions of a cache, (R, H, P, K) -> (R, H, length, K), with zeros that a mask hides."""
    return np.pad(cache, ((0, 0), (0, 0), (0, length - cache.shape[2]), (0, 0)))


def _stack(old: Float, new: Float) -> Float:
    """Put new rows below old ones, both as long as the longer of the two."""
    length = max(old.shape[2], new.shape[2])
    return np.concatenate([_widen(old, length), _widen(new, length)])
