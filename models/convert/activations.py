"""What goes into and comes out of every linear map, when a network reads some pairs under teacher forcing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

Look = Callable[[str, Tensor, Tensor], None]  # name of the map, input (..., in), output (..., out)


@torch.no_grad()
def observe(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], look: Look) -> None:
    """Show `look` the input and the output of every linear map for each (source, target) batch, padding included."""

    def hook(name: str, _: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        look(name, inputs[0], output)

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear):
                hooks.enter_context(module.register_forward_hook(partial(hook, name)))
        for source, target in batches:
            network(source, target)
