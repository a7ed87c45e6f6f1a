"""Keys and values of all rows, and attention over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

WIDTH_STEP = 128
"""Tokens by which the rectangle of keys widens."""


@dataclass(frozen=True)
class Segment:
    """Tokens of one row in a pass.

    Attributes:
        slot: The row's place in memory.
        start: Tokens of the row before these.
        count: Tokens in this pass.
    """

    slot: int
    start: int
    count: int

    @property
    def end(self) -> int:
        """Tokens of the row after this pass."""
        return self.start + self.count


class Pass:
    """One pass of the model: the tokens of all rows one after another, without padding.

    The first `single` segments have one token each, in slots 0, 1, 2…: their attention is one operation. The
    longer ones follow, and have one operation each.

    Args:
        segments: The rows' tokens, in the order of their slots.
        dtype: Of the model; its attention accepts masks of no other.
        device: Of the model's inputs.
        groups: Heads of the query for each head of the keys.
    """

    def __init__(
        self, segments: Sequence[Segment], dtype: torch.dtype, device: torch.device, groups: int
    ) -> None:
        self.single = next((i for i, s in enumerate(segments) if s.count > 1), len(segments))
        ends = [s.end for s in segments[: self.single]]
        self.width = max(ends, default=0)
        self.longer = list(segments[self.single :])
        self.positions = _index([p for s in segments for p in range(s.start, s.end)], device)
        self._slots = _index([s.slot for s in segments for _ in range(s.count)], device)
        visible = torch.arange(self.width, device=device) < _index(ends, device)[:, None]
        self.single_mask = _mask(visible, dtype)[:, None, None]
        self.longer_masks = [_causal(s, dtype, device).repeat(groups, 1) for s in self.longer]

    def places(self, width: int) -> torch.Tensor:
        """Where the tokens' keys belong, in memory of this width."""
        return self._slots * width + self.positions


def _index(numbers: list[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.long, device=device)


def _mask(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, float("-inf"))


def _causal(segment: Segment, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    own = torch.arange(segment.start, segment.end, device=device)[:, None]
    return _mask(torch.arange(segment.end, device=device) <= own, dtype)


def attend(
    module: Any,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    scaling: float,
    rows: Pass,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one layer, as transformers calls it.

    The heads of the query that share a head of the keys become further queries of that head, so that keys are
    never repeated.

    Args:
        module: The layer's attention.
        query: (1, heads, tokens, size).
        keys: The memory of this layer: (slots, width, heads of the keys, size).
        values: The same.
        attention_mask: Not used; `rows` has the masks.
        scaling: Factor of the scores.
        rows: The tokens' rows.
    """
    groups = module.num_key_value_groups
    heads_of_keys = query[0].unflatten(0, (-1, groups))
    outputs = []
    if n := rows.single:
        q = heads_of_keys[:, :, :n].permute(2, 0, 1, 3)
        k, v = (t[:n, : rows.width].transpose(1, 2) for t in (keys, values))
        out = sdpa(q, k, v, attn_mask=rows.single_mask.to(q.device), scale=scaling)
        outputs.append(out.flatten(1, 2))
    for segment, mask in zip(rows.longer, rows.longer_masks, strict=True):
        q = heads_of_keys[:, :, n : n + segment.count].flatten(1, 2)[None]
        k, v = (t[segment.slot, : segment.end].transpose(0, 1)[None] for t in (keys, values))
        out = sdpa(q, k, v, attn_mask=mask.to(q.device), scale=scaling)[0]
        outputs.append(out.unflatten(1, (groups, -1)).flatten(0, 1).transpose(0, 1))
        n += segment.count
    return torch.cat(outputs)[None], None


class KeyStore:
    """Keys and values of rows in numbered slots; `past_key_values` to the model.

    A slot whose row has left keeps what it held until another row takes it. Beyond a row's tokens there are
    zeros: what is masked is still computed with, and NaN would spread from a row that has left.

    Args:
        devices: Device of each layer.
        heads: Heads of the keys.
        size: Numbers in a head.
        dtype: Of the model.
        capacity: Tokens that may be stored, over all slots.
    """

    def __init__(
        self, devices: Sequence[torch.device], heads: int, size: int, dtype: torch.dtype, capacity: int
    ) -> None:
        self.capacity = capacity
        self.slots = self.width = 0
        self.held: list[list[int]] = []
        """The tokens whose keys each slot holds."""
        self.weights: list[int] = []
        """Number of the adapter that each slot's keys were computed with; 0: none."""
        self._layers = [
            [torch.empty((0, 0, heads, size), dtype=dtype, device=device) for _ in range(2)]
            for device in devices
        ]
        self._rows: Pass | None = None

    def begin(self, rows: Pass) -> None:
        """Expect the keys of a pass."""
        self._rows = rows

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer: int, _: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store a layer's new keys and values: (1, heads, tokens, size) each; returns the layer's memory."""
        assert self._rows is not None, "begin() comes first"
        places = self._rows.places(self.width).to(key.device)
        keys, values = self._layers[layer]
        keys.flatten(0, 1).index_copy_(0, places, key[0].transpose(0, 1))
        values.flatten(0, 1).index_copy_(0, places, value[0].transpose(0, 1))
        return keys, values

    def get_seq_length(self, layer: int = 0) -> int:
        """Nothing: the positions and the masks come with each pass."""
        return 0

    def fits(self, rows: int, length: int) -> bool:
        """Whether that many rows, the longest of this length, are within the capacity."""
        return rows * length <= self.capacity

    def make_room(self, rows: int, length: int) -> None:
        """Have a slot for each of so many rows, and room for this length in each; `fits` must be true."""
        if rows <= self.slots and length <= self.width:
            return
        width = min(-(-length // WIDTH_STEP) * WIDTH_STEP, self.capacity // rows)
        slots = min(1 << (rows - 1).bit_length(), self.capacity // width)
        self._resize(slots, width)

    def clear(self) -> None:
        """Give the memory back."""
        self._resize(0, 0)

    def _resize(self, slots: int, width: int) -> None:
        kept_slots, kept_width = min(slots, self.slots), min(width, self.width)
        for layer in self._layers:
            # One tensor after another, so that only one of them exists twice.
            for i, old in enumerate(layer):
                new = old.new_zeros((slots, width, *old.shape[2:]))
                new[:kept_slots, :kept_width] = old[:kept_slots, :kept_width]
                layer[i] = new
        self.held = [held[:width] for held in self.held[:slots]] + [[] for _ in range(slots - kept_slots)]
        self.weights = self.weights[:slots] + [0] * (slots - kept_slots)
        self.slots, self.width = slots, width

    def copy(self, source: int, target: int, count: int) -> None:
        """Begin a slot with the first tokens of another."""
        for layer in self._layers:
            for tensor in layer:
                tensor[target, :count] = tensor[source, :count]
        self.held[target], self.weights[target] = self.held[source], self.weights[source]
        self.cut(target, count)

    def cut(self, slot: int, count: int) -> None:
        """Forget all but the first tokens of a slot."""
        for layer in self._layers:
            for tensor in layer:
                tensor[slot, count:] = 0
        self.held[slot] = self.held[slot][:count]

    def share(self, slot: int, tokens: Sequence[int], weights: int = 0) -> int:
        """Begin a slot with the longest beginning of these tokens that any slot of the same weights holds.

        Returns:
            Number of tokens that need not be computed; the last one always is, as the next token follows it.
        """
        lengths = [
            min(_common(held, tokens), len(tokens) - 1) if own == weights else 0
            for held, own in zip(self.held, self.weights, strict=True)
        ]
        best = max(range(self.slots), key=lengths.__getitem__)
        if best == slot:
            self.cut(slot, lengths[best])
        else:
            self.copy(best, slot, lengths[best])
        return lengths[best]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
