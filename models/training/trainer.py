"""The trainer: a network, its optimisers, and the processes that share an update.

Between *batches* and *train*. Deterministic: the same weights, batches and number of threads give the
same weights again, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from models.corpora.batches import Batch
from models.network.transformer import Losses, Transformer
from models.training.checkpoint import CheckpointError, Progress
from models.training.optimizer import Muon
from models.training.settings import Settings

Compute = Callable[..., Losses]  # `losses`, compiled or not


class Worker:
    """Where and how this process computes: device, precision, rank among its peers."""

    def __init__(self, precision: str) -> None:
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        cuda = torch.cuda.is_available()
        self.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if cuda else "cpu"
        if cuda:
            torch.cuda.set_device(self.device)
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        self.bf16 = precision == "bf16" or (precision == "auto" and native)
        if self.world > 1:
            dist.init_process_group("nccl" if cuda else "gloo")

    def close(self) -> None:
        """Part from the other processes."""
        if self.world > 1:
            dist.destroy_process_group()

    @property
    def on_gpu(self) -> bool:
        """Tell whether this is an accelerator, which wants other sizes and its batches made for it."""
        return self.device != "cpu"

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which products run in the chosen precision."""
        return torch.autocast(self.device.split(":")[0], torch.bfloat16) if self.bf16 else nullcontext()

    def sum(self, tensors: list[Tensor]) -> None:
        """Add up, in place and as one message, what every rank holds."""
        if self.world > 1:
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            dist.all_reduce(flat)
            for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Tell whether any rank says so: all of them stop after the same update."""
        if self.world == 1:
            return flag
        told = torch.tensor([float(flag)], device=self.device)
        self.sum([told])
        return bool(told.item())

    def share(self, tensors: list[Tensor]) -> None:
        """Give every rank, in place, what the first one holds."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


class Trainer:
    """A network, its optimisers and its place in the data: all that a checkpoint holds."""

    def __init__(self, config: Settings, worker: Worker, tokenizer: str) -> None:
        """Begin with random weights; `tokenizer` is the fingerprint of the one whose pieces they will know."""
        self.config, self.worker, self.tokenizer = config, worker, tokenizer
        torch.manual_seed(config.data.seed)
        self.network = Transformer(config.model, config.guided).to(worker.device)
        matrices = [p for n, p in self.network.named_parameters() if p.dim() == 2 and "embedding" not in n]
        vectors = [p for n, p in self.network.named_parameters() if p.dim() != 2 or "embedding" in n]
        steps_in = torch.bfloat16 if worker.bf16 else torch.float32
        self.optimisers = [
            Muon(matrices, config.training.matrix_rate, steps_in),
            torch.optim.AdamW(vectors, config.training.vector_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.rates = [config.training.matrix_rate, config.training.vector_rate]
        self.average = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self.position, self.tokens, self.updates, self.seconds = 0, 0, 0, 0.0
        self.warmed_from = 0  # the update at which the current warm-up began

    def state(self) -> dict[str, Any]:
        """Return everything that the next run needs, on any device."""
        return {
            "shape": asdict(self.config.model),
            "tokenizer": self.tokenizer,
            "guided": [asdict(guide) for guide in self.config.guided],
            "config": self.config.to_dict() | {"guided": [asdict(g) for g in self.config.guided]},
            "weights": self.network.state_dict(),
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "position": self.position,
            "tokens": self.tokens,
            "updates": self.updates,
            "seconds": self.seconds,
            "warmed_from": self.warmed_from,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint as if nothing had happened.

        Raises:
            CheckpointError: It belongs to a network of another shape, or that knows other pieces.
        """
        if state.get("tokenizer", self.tokenizer) != self.tokenizer:  # old checkpoints do not say
            raise CheckpointError(
                "the checkpoint was trained with another tokenizer: give another --run, or delete it"
            )
        if state["shape"] != asdict(self.config.model):
            raise CheckpointError(
                f"the checkpoint is of shape {state['shape']}, the configuration wants "
                f"{asdict(self.config.model)}: give another --run, or delete it"
            )
        self.network.load_state_dict(state["weights"])
        self.average = {name: value.to(self.worker.device) for name, value in state["average"].items()}
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.position, self.tokens, self.updates = state["position"], state["tokens"], state["updates"]
        self.seconds, self.warmed_from = state["seconds"], state["warmed_from"]

    def start_from(self, weights: dict[str, Tensor], origin: str) -> None:
        """Begin a new run from weights alone, in any precision; every rank gets those of the first.

        Args:
            origin: Where they come from, for the error.

        Raises:
            CheckpointError: They belong to a network of another shape.
        """
        try:
            self.network.load_state_dict({name: value.float() for name, value in weights.items()})
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise CheckpointError(f"{origin}: weights of another shape ({first})") from error
        self.worker.share([p.data for p in self.network.parameters()])
        self.average = {name: p.detach().clone() for name, p in self.network.named_parameters()}

    def count_on(self, done: Progress) -> None:
        """Take what was trained before as done by this run, and warm up from there."""
        self.tokens, self.updates, self.seconds = done.tokens, done.updates, done.seconds
        self.warmed_from = done.updates

    def rate(self) -> float:
        """Return the factor on both learning rates: warm-up, plateau, linear cool-down."""
        training = self.config.training
        warm = min(1.0, (self.updates - self.warmed_from + 1) / max(1, training.warmup_updates))
        left = (training.total_tokens - self.tokens) / max(1.0, training.cooldown * training.total_tokens)
        return warm * min(1.0, max(0.0, left))

    def num_batches(self) -> int:
        """Return how many batches make the next update, on each rank."""
        wanted = max(size for since, size in self.config.training.update_tokens if self.tokens >= since)
        return max(1, round(wanted / (self.config.data.batch_tokens * self.worker.world)))

    def update(self, batches: list[tuple[int, Batch]], compute: Compute) -> dict[str, float]:
        """Make one update from some batches; return its mean losses per target token."""
        sums = torch.stack([self._backward(batch, compute) for _, batch in batches]).sum(0)
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        self.worker.sum(gradients)
        self.worker.sum([sums])  # a message of its own: in double precision, or large counts go wrong
        torch._foreach_div_(gradients, sums[0].float())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.training.gradient_clip)
        self._step(self.rate())
        tokens, cross_entropy, alignment = sums.tolist()  # the only wait for the device
        self.updates += 1
        self._average()
        self.position = batches[-1][0]
        self.tokens += int(tokens)
        return {"loss": cross_entropy / tokens, "alignment": alignment / tokens}

    def _backward(self, batch: Batch, compute: Compute) -> Tensor:
        """Add a batch's gradients; return its tokens, cross-entropy and alignment loss, (3,)."""
        tensors = batch.tensors(self.worker.device)
        with self.worker.autocast():
            result = compute(self.network, *tensors, self.config.training.label_smoothing)
        result.total.backward()
        tokens = torch.full_like(result.alignment, len(batch.kept), dtype=torch.float64)
        return torch.stack([tokens, result.cross_entropy.double(), result.alignment.double()])

    def _step(self, factor: float) -> None:
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _average(self) -> None:
        """Fold the weights into their running average, whose memory grows with the run up to its limit."""
        decay = min(self.config.training.average_decay, (1 + self.updates) / (10 + self.updates))
        live = dict(self.network.named_parameters())
        torch._foreach_lerp_([self.average[n] for n in live], list(live.values()), 1 - decay)
