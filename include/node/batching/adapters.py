"""LoRA adapters beside a model's own weights: each token goes through its row's adapter."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn.functional import linear

from lora import WEIGHTS, AdapterError, fit_problem, read, weight_name

_numbers = itertools.count(1)


class Adapter:
    """An adapter in memory; rows that are computed with it keep it there.

    Args:
        weights: A, and B times the scaling, by the name of the layer.
    """

    def __init__(self, weights: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.number = next(_numbers)
        """Of no other adapter in this process; the base model alone has 0."""
        self.weights = weights


class Adapters:
    """Adds adapters to the outputs of a model's linear layers.

    Args:
        model: A Llama or Qwen2; hooks are added to its layers.
        folder: Where it lies, for messages.
    """

    def __init__(self, model: Any, folder: Path) -> None:
        self._folder = folder
        self._linear = {
            name: module
            for name, module in model.named_modules()
            if name.startswith("model.layers.") and isinstance(module, torch.nn.Linear)
        }
        self._devices = {module.weight.device for module in self._linear.values()}
        self._rows: list[tuple[Adapter | None, int]] = []
        self._places: list[tuple[Adapter, dict[torch.device, torch.Tensor] | None]] = []
        """The adapters of this pass and the places of their tokens, on each device; None: all."""
        for name, module in self._linear.items():
            module.register_forward_hook(partial(self._add, name))

    def load(self, folder: Path) -> Adapter:
        """Load an adapter, whose names and shapes are compared with the model's first.

        Any thread may call this: the model is not touched.

        Raises:
            AdapterError: It is no plain LoRA of linear layers, or it does not fit.
        """
        lora = read(folder)
        shapes = {f"{name}.weight": tuple(module.weight.shape) for name, module in self._linear.items()}
        if problem := fit_problem(lora, self._folder, shapes):
            raise AdapterError(problem)
        content = load_file(folder / WEIGHTS)
        return Adapter({module: self._pair(content, module, lora.scaling) for module in lora.modules})

    def _pair(
        self, content: dict[str, torch.Tensor], module: str, scaling: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        own = self._linear[module].weight
        # Scaled before it is rounded to 16 bits.
        a, b = content[weight_name(module, "A")], content[weight_name(module, "B")].float() * scaling
        return a.to(own.device, own.dtype), b.to(own.device, own.dtype)

    def begin(self, rows: Iterable[tuple[Adapter | None, int]]) -> None:
        """Expect a pass.

        Args:
            rows: The adapter and the number of tokens of each row, in the order of the tokens.
        """
        expected = list(rows)
        # Most passes are of the same rows as the one before, with a token each.
        if expected == self._rows:
            return
        self._rows = expected
        places: dict[Adapter, list[int]] = {}
        end = 0
        for adapter, count in expected:
            begin, end = end, end + count
            if adapter:
                places.setdefault(adapter, []).extend(range(begin, end))
        self._places = [
            (adapter, None if len(own) == end else self._on_devices(own)) for adapter, own in places.items()
        ]

    def _on_devices(self, places: list[int]) -> dict[torch.device, torch.Tensor]:
        """Once a pass: a copy to the GPU in each layer would cost more than the layer."""
        index = torch.tensor(places)
        return {device: index.to(device) for device in self._devices}

    def _add(self, name: str, module: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        """Add to a layer's output (1, tokens, size), in place, what the adapters make of its input."""
        for adapter, places in self._places:
            if name not in adapter.weights:
                continue
            a, b = adapter.weights[name]
            tokens, changed = inputs[0][0].to(a.device), output[0]
            if places is None:
                changed += linear(linear(tokens, a), b)
            else:
                index = places[a.device]
                changed.index_add_(0, index, linear(linear(tokens.index_select(0, index), a), b))
