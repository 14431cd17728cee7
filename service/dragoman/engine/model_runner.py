"""The model runner: the decoder's rows as numpy arrays, which join, step, branch and leave.

It owns the key-value caches. A row is one hypothesis. New rows are appended, and when rows leave, the last ones move
into the gaps (`close_gaps`): whoever keeps a list in the same way finds row i at its i-th place.

Axes: R rows, T tokens of several sentences end to end, S source positions, H heads, K width of a head, V vocabulary,
N best tokens.

Results do not depend on the neighbours. A decoder step reads only the positions that a row has filled. The encoder pads
to a multiple of 8 even for a single sentence, because its attention in float32 is bit-stable against padding only then.
All other products are of whole numbers, which add up to the same in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dragoman.bundle.padding import MULTIPLE, padded
from dragoman.engine.cache import Cache, CacheArray, Float, close_gaps, row_capacity
from dragoman.engine.sessions import Binding, Sessions
from dragoman.text.tokenizer import PAD_ID

Int = npt.NDArray[np.int64]
ShortInt = npt.NDArray[np.int32]
NO_ATTENTION = np.zeros(0, np.float32)
MAX_BINDINGS = 256  # kept at once, for different numbers of rows and of best tokens
MAX_GROUP_TOKENS = 256  # in one pass through the encoder: more would not stay in the processor's caches


@dataclass(eq=False)
class Step:
    """The output of one decoder step. The next step overwrites it.

    Attributes:
        log_probabilities: (R, V), natural logarithms.
        top: (R, N), the most probable tokens, best first.
        top_log_probabilities: (R, N), of these.
        attention: (R, S), of the alignment head. Positions beyond a row's source are meaningless.
    """

    log_probabilities: Float
    top: Int
    top_log_probabilities: Float
    attention: Float

    @cached_property
    def best_rows(self) -> tuple[list[int], list[float]]:
        """Return the most probable token of each row, the first of equals, and their log-probabilities."""
        # numpy's arg-max takes 1 us a row of 8,000; onnxruntime's takes 7, its TopK 12.
        best: Int = self.log_probabilities.argmax(axis=1)
        return best.tolist(), self.log_probabilities[np.arange(len(best)), best].tolist()

    def seen(self, row: int, width: int) -> Float:
        """Return a copy of a row's attention to the first positions, (width,), which the next step does not overwrite."""
        return self.attention[row, :width].copy() if width else NO_ATTENTION

    @cached_property
    def top_rows(self) -> tuple[list[list[int]], list[list[float]]]:
        """Return the top tokens of each row and their log-probabilities, as lists, which Python reads faster."""
        return self.top.tolist(), self.top_log_probabilities.tolist()


@dataclass(frozen=True)
class Bound:
    """The arrays that the decoder is bound to, for a number of rows. Binding takes 0.2 ms: half a step of one row.

    Attributes:
        read: Inputs whose addresses the binding has, kept alive here.
        written: Outputs, as in `Step`: log-probabilities, top tokens, their log-probabilities, attention.
    """

    binding: Binding
    read: list[npt.NDArray[np.generic]]
    written: tuple[Float, Int, Float, Float]


class ModelRunner:
    """The decoder rows of one model. Not thread-safe: one thread owns it."""

    def __init__(self, sessions: Sessions, shape: dict[str, int]) -> None:
        """Start without rows.

        Args:
            shape: The model's sizes, from the manifest.
        """
        self._encoder = sessions.encoder
        self._decoder = sessions.decoder
        self._heads = shape["heads"]
        self._width = shape["width"] // shape["heads"]
        self._vocabulary = shape["vocabulary"]
        self._kinds = [f"{kind}_{i}" for i in range(shape["decoder_layers"]) for kind in ("key", "value")]
        self._cross_names = [f"cross_{kind}" for kind in self._kinds]
        types = {given.name: given.type for given in self._decoder.get_inputs()}
        is_rounded = types[self._cross_names[0]] == "tensor(int8)"  # as the bundle was exported
        self._cross_type: type[np.float32 | np.int8] = np.int8 if is_rounded else np.float32
        self.clear()

    def clear(self) -> None:
        """Free all rows, whatever state a failure left them in."""
        self._rows = 0
        self._furthest = 0  # the largest position of any row
        self._token = np.zeros(0, np.int64)
        self._position, self._source_length = (np.zeros(0, np.int32) for _ in range(2))
        self._self = Cache([f"self_{kind}" for kind in self._kinds], self._heads, self._width)
        self._cross = Cache(self._cross_names, self._heads, self._width, self._cross_type)
        self._log_probabilities = np.zeros((0, self._vocabulary), np.float32)
        self._attention = np.zeros(0, np.float32)
        self._bound: dict[tuple[int, int], Bound] = {}  # by rows and top tokens, until an array moves

    def join(self, sources: Sequence[Sequence[int]]) -> None:
        """Encode some sentences, tag and end included, and append a row for each."""
        if not sources:
            return
        lengths = np.array([len(source) for source in sources])
        first = self._rows
        self._add_rows(len(sources), int(lengths.max()))
        for group in _groups(lengths.tolist()):
            encoded = self._encode([sources[index] for index in group])
            self._cross.put(first + np.array(group), encoded)
        self._source_length[first : self._rows] = lengths
        self._position[first : self._rows] = 0

    def _encode(self, sources: list[Sequence[int]]) -> list[CacheArray]:
        """Return the cross-attention keys and values of some sentences, (sentences, H, S, K) for each name."""
        lengths = np.array([len(source) for source in sources])
        row = np.repeat(np.arange(len(sources)), lengths)  # (T,)
        place = np.concatenate([np.arange(length) for length in lengths])  # (T,)
        slots = np.zeros((len(sources), padded(int(lengths.max()))), np.int64)  # (sentences, S)
        slots[row, place] = np.arange(len(row))
        assert slots.shape[1] % MULTIPLE == 0, "padding decides the last bits. This is a bug."
        feeds = {"source": np.concatenate(sources), "row": row, "place": place, "slots": slots}
        encoded: list[CacheArray] = self._encoder.run(self._cross_names, {**feeds, "source_length": lengths})
        return encoded

    def step(self, tokens: Sequence[int], num_top: int = 0) -> Step:
        """Advance every row by one token.

        Args:
            tokens: The token that each row reads: the start token, or what was chosen after the last step.
            num_top: N, how many of the best tokens to return for each row.
        """
        rows = self._rows
        self._token[:rows] = tokens
        if self._furthest >= self._self.length and self._self.reserve(rows, rows, self._furthest + 1):
            self._bound.clear()
        bound = self._bound.get((rows, num_top)) or self._bind(rows, num_top)
        self._decoder.run_with_iobinding(bound.binding)
        self._position[:rows] += 1
        self._furthest += 1
        return Step(*bound.written)

    def _bind(self, rows: int, num_top: int) -> Bound:
        """Bind the decoder to the arrays; it writes the caches in place."""
        binding = self._decoder.io_binding()
        caches = [*self._self.items(rows), *self._cross.items(rows)]
        read: list[tuple[str, Int | ShortInt | CacheArray]] = [
            ("token", self._token[:rows]),
            ("position", self._position[:rows]),
            ("source_length", self._source_length[:rows]),
            ("num_top", np.array([num_top])),
            *caches,
        ]
        best = np.zeros((rows, num_top), np.int64), np.zeros((rows, num_top), np.float32)
        attention = self._attention[: rows * self._cross.length].reshape(rows, -1)
        log_probabilities = self._log_probabilities[:rows]
        written: list[tuple[str, Int | ShortInt | CacheArray]] = [
            ("log_probabilities", log_probabilities),
            ("attention", attention),
            *((f"new_{name}", array) for name, array in caches),
        ]
        if num_top:
            written += [("top", best[0]), ("top_log_probability", best[1])]
        for bind, arrays in ((binding.bind_input, read), (binding.bind_output, written)):
            for name, array in arrays:
                address = array.__array_interface__["data"][0]  # `array.ctypes.data` takes ten times as long
                bind(name, "cpu", 0, array.dtype, array.shape, address)
        if len(self._bound) == MAX_BINDINGS:
            self._bound.clear()
        bound = Bound(binding, [array for _, array in read], (log_probabilities, *best, attention))
        self._bound[rows, num_top] = bound
        return bound

    def branch(self, branches: Sequence[tuple[int, int, int]]) -> None:
        """Copy rows.

        Args:
            branches: (source, target, steps): the target row, which may be the next new one, and how many of its first
                steps are the same as the source's already.
        """
        new = [source for source, target, _ in branches if target >= self._rows]
        if new:
            first = self._rows
            self._add_rows(len(new), int(self._source_length[new].max()))
            for target, source in enumerate(new, first):
                self._cross.copy(source, target, int(self._source_length[source]))
                self._source_length[target] = self._source_length[source]
        for source, target, steps in branches:
            self._self.copy(source, target, int(self._position[source]), steps)
            self._position[target] = self._position[source]

    def leave(self, rows: Sequence[int]) -> None:
        """Free some rows; the last ones move into the gaps, as in `close_gaps`."""
        if not rows:
            return
        kept = list(range(self._rows))
        close_gaps(kept, rows)
        for target, source in enumerate(kept):
            if source != target:
                self._self.copy(source, target, int(self._position[source]))
                self._cross.copy(source, target, int(self._source_length[source]))
        for array in (self._position, self._source_length):
            array[: len(kept)] = array[kept]
        self._rows = len(kept)
        self._furthest = int(self._position[: len(kept)].max(initial=0))

    @property
    def padding_ratio(self) -> float:
        """Return which share of the cached positions of the rows in use is empty."""
        rows = self._rows
        room = rows * (self._self.length + self._cross.length)
        return 1 - int(self._position[:rows].sum() + self._source_length[:rows].sum()) / room if room else 0.0

    def warm_up(self) -> None:
        """Run both graphs once, so that the first caller does not wait for what happens only once."""
        self.join([[PAD_ID] * MULTIPLE] * 2)
        self.step([PAD_ID] * 2, num_top=2)
        self.leave([0, 1])

    def _add_rows(self, count: int, source_length: int) -> None:
        """Make room for more rows."""
        used, rows = self._rows, self._rows + count
        longest = max(source_length, int(self._source_length[:used].max(initial=0)))
        has_moved = self._cross.reserve(used, rows, padded(longest))
        has_moved |= self._self.reserve(used, rows, self._furthest + 1)
        if rows > len(self._token):
            capacity = row_capacity(rows)
            for name in ("_token", "_position", "_source_length"):
                old = getattr(self, name)
                setattr(self, name, np.append(old[:used], np.zeros(capacity - used, old.dtype)))
            self._log_probabilities = np.zeros((capacity, self._vocabulary), np.float32)
            has_moved = True
        if has_moved:
            self._attention = np.zeros(len(self._token) * self._cross.length, np.float32)
            self._bound.clear()
        self._rows = rows


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    """Group sentences for passes through the encoder, by similar length and a limited number of tokens."""
    groups: list[list[int]] = []
    tokens = 0
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        tokens += lengths[index]
        if (
            not groups
            or tokens > MAX_GROUP_TOKENS
            or padded(lengths[index]) > 2 * padded(lengths[groups[-1][0]])
        ):
            groups.append([])
            tokens = lengths[index]
        groups[-1].append(index)
    return groups
