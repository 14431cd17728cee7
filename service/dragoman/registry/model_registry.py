"""The model registry: the models and settings of a running server, which may be exchanged while it runs.

A call ends on the model on which it began (`using`), whatever is exchanged meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dragoman.batching.decode_pool import DecodePool
from dragoman.batching.queue_limits import QueueLimits
from dragoman.bundle import Bundle
from dragoman.config import Settings
from dragoman.errors import NotServed, quoted
from dragoman.observability.metrics import Metrics
from dragoman.registry.allocator import give_memory_back
from dragoman.translation.translator import Translator


def queue_limits(settings: Settings) -> QueueLimits:
    """Return the limits of each model's waiting queue."""
    return QueueLimits(
        max_waiting=settings.max_queued_sentences,
        max_work=settings.max_queued_tokens,
        max_overtaken=settings.max_overtaken,
        max_caller_share=settings.max_caller_share,
    )


@dataclass(eq=False)
class LoadedModel:
    """One version of a model, loaded and warmed up.

    Attributes:
        loaded_at: Seconds since the epoch.
        calls: How many calls are using it; only the thread of the event loop counts them.
    """

    bundle: Bundle
    translator: Translator
    pool: DecodePool
    loaded_at: float
    load_seconds: float
    calls: int = 0

    @property
    def full_name(self) -> str:
        """Return `name@version`."""
        return self.bundle.full_name

    def close(self) -> None:
        """Finish the sentences that run or wait, then release the engine, even if someone still holds the translator."""
        self.pool.close()


@dataclass(eq=False)
class ModelRegistry:
    """The models of one server, and what they run on.

    Attributes:
        num_workers: Decode workers of each model.
        threads: Processor threads of each worker.
        models: Those that answer new calls: the default first, then by name, newest versions first.
        retiring: Those that only finish the calls that use them.
    """

    settings: Settings
    metrics: Metrics
    num_workers: int
    threads: int
    cores: float
    kernel_set: str
    models: list[LoadedModel] = field(default_factory=list)
    retiring: list[LoadedModel] = field(default_factory=list)

    @property
    def default(self) -> LoadedModel:
        """Return the model for calls that name none."""
        return self.models[0]

    @property
    def bundle(self) -> Bundle:
        """Return the bundle of the default model."""
        return self.default.bundle

    @property
    def translator(self) -> Translator:
        """Return the translator of the default model."""
        return self.default.translator

    @property
    def pool(self) -> DecodePool:
        """Return the decode pool of the default model."""
        return self.default.pool

    def pick(self, wanted: str) -> LoadedModel:
        """Return the model with a name, or with `name@version`; by default, its newest version.

        Raises:
            NotServed: There is none; the error lists those that are served.
        """
        if not wanted:
            return self.default
        name, at, version = wanted.partition("@")
        of_name = [model for model in self.models if model.bundle.manifest.name == name]
        found = [model for model in of_name if not at or model.bundle.manifest.version == version]
        if found:
            return found[0]
        served = ", ".join(model.full_name for model in self.models)
        if of_name:
            message = f"version {quoted(version)} of {name} is not served; served: {served}"
            raise NotServed(message, reason="VERSION_NOT_SERVED", served=served)
        message = f"model {quoted(name)} is not served; served: {served}"
        raise NotServed(message, reason="MODEL_NOT_SERVED", served=served)

    @contextmanager
    def using(self, wanted: str) -> Iterator[LoadedModel]:
        """Use a model for the duration of a call.

        Raises:
            NotServed: There is no model of that name or version.
        """
        model = self.pick(wanted)
        model.calls += 1
        try:
            yield model
        finally:
            model.calls -= 1

    def configure(self, settings: Settings) -> None:
        """Apply new settings."""
        self.settings = settings
        for model in (*self.models, *self.retiring):
            model.pool.set_limits(queue_limits(settings))

    def exchange(self, models: list[LoadedModel]) -> list[LoadedModel]:
        """Replace the models that answer calls, and return those that no longer do, to be retired."""
        gone = [model for model in self.models if model not in models]
        for model in models:
            self.metrics.add_model(model.full_name, model.load_seconds)
        self.models, self.retiring = models, self.retiring + gone
        return gone

    def retire(self, model: LoadedModel) -> None:
        """Close a model that no longer answers, once its calls are done, and return its memory to the system."""
        model.close()
        self.retiring.remove(model)
        if model.full_name not in [other.full_name for other in (*self.models, *self.retiring)]:
            self.metrics.remove_model(model.full_name)
        give_memory_back()

    def close(self) -> None:
        """Close all models, after the sentences that run or wait."""
        for model in (*self.models, *self.retiring):
            model.close()
