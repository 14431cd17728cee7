"""Join, step, leave: the decoder's batch as numpy arrays.

Owns the key-value caches. A row is one sentence; rows lie densely, new ones behind, and when some leave,
those behind move into the gaps (`close_gaps`), so that row i belongs to the i-th running sentence of
whoever keeps a list in the same way.

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
from service.engine.cache import Cache, close_gaps
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
        self._self = Cache(self._self_names, self._heads, self._width)  # (R, H, P, K)
        self._cross = Cache(self._cross_names, self._heads, self._width)  # (R, H, S, K)

    def join(self, sources: Sequence[Sequence[int]]) -> None:
        """Encode some sentences, tag and end included, and give each a row behind the present ones.

        Those of one padded length go through the encoder together, so that hardly any work is padding, in
        groups that stay in the processor's caches.
        """
        if not sources:
            return
        used, count = len(self._token), len(sources)
        lengths = np.array([len(source) for source in sources])
        longest = padded(int(max(lengths.max(), self._source_length.max(initial=0))))
        self._cross.reserve(used, used + count, longest)
        self._self.reserve(used, used + count, max(self._self.length, MULTIPLE))
        for group in _groups([padded(len(source)) for source in sources]):
            ids = np.full((len(group), padded(len(sources[group[0]]))), PAD_ID, np.int64)  # (rows, S)
            for place, row in enumerate(group):
                ids[place, : len(sources[row])] = sources[row]
            assert ids.shape[1] % MULTIPLE == 0, "padding decides the last bits. This is a bug."
            encoded = self._encoder.run(self._cross_names, {"source": ids})
            self._cross.put(used + np.array(group), encoded)
        self._token = np.append(self._token, np.full(count, BOS_ID))
        self._position = np.append(self._position, np.zeros(count, np.int64))
        self._source_length = np.append(self._source_length, lengths)

    def step(self, forced: Sequence[int]) -> Step:
        """Advance every row by one piece.

        Args:
            forced: For each row, the piece to take whatever its score, or `FREE`.
        """
        rows = len(self._token)
        slots = self._position + 1  # slot 0 stands for the present step
        self._self.reserve(rows, rows, padded(int(slots.max()) + 1))
        assert self._self.length % MULTIPLE == 0, "padding decides the last bits. This is a bug."
        feeds = {
            "token": self._token,
            "position": self._position,
            "forced": np.array(forced, np.int64),
            "num_top": np.ones(1, np.int64),
            "source_length": self._source_length,
            **self._self.feeds(rows),
            **self._cross.feeds(rows),
        }
        chosen, log_probabilities, attention, *new = self._decoder.run(self._outputs, feeds)
        self._self.put_at(slots, new)
        self._token = chosen
        self._position = slots
        probable = np.minimum(log_probabilities, 0.0)  # rounding may lift a certainty above it
        return Step(chosen.tolist(), probable.tolist(), attention)

    def leave(self, rows: Sequence[int]) -> None:
        """Give up some rows; those behind move into the gaps, as in `close_gaps`."""
        if not rows:
            return
        kept = list(range(len(self._token)))
        close_gaps(kept, rows)
        for target, source in enumerate(kept):
            if source != target:
                self._self.move(source, target)
                self._cross.move(source, target)
        self._token, self._position = self._token[kept], self._position[kept]
        self._source_length = self._source_length[kept]

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
