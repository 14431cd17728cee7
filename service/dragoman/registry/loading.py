"""Loading: build the objects of a server, and of each model, and connect them. Nothing else does.

Each bundle that serves has a decode pool and a translator.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry

from dragoman import bundle
from dragoman.batching.decode_pool import DecodePool
from dragoman.bundle import Bundle
from dragoman.config import Settings
from dragoman.engine import known_answers
from dragoman.engine.model_runner import ModelRunner
from dragoman.engine.processors import cpu_limit, kernel_set, usable_threads
from dragoman.engine.sessions import open_sessions
from dragoman.errors import BundleError, ConfigError
from dragoman.observability.metrics import Metrics
from dragoman.registry.model_registry import LoadedModel, ModelRegistry, queue_limits
from dragoman.registry.reloader import Reloader, report_refused
from dragoman.registry.repository import scan
from dragoman.text.tokenizer import Tokenizer
from dragoman.translation.translator import Translator


def build(settings: Settings) -> tuple[ModelRegistry, Metrics]:
    """Load the bundles and start their decode pools.

    Raises:
        DragomanError: No bundle can be served.
    """
    metrics = Metrics(CollectorRegistry())
    cores = cpu_limit()
    num_workers = settings.decode_loops or (1 if settings.threads else usable_threads(cores))
    threads = settings.threads or max(1, usable_threads(cores) // num_workers)
    metrics.threads.set(num_workers * threads)
    metrics.cpu_limit_cores.set(cores)
    registry = ModelRegistry(settings, metrics, num_workers, threads, cores, kernel_set())
    found = scan(settings, [], partial(load, registry))
    if not found.models:
        raise found.refused[-1]
    report_refused(registry, found.refused)
    registry.exchange(found.models)
    metrics.last_reload_successful.set(not found.refused)
    return registry, metrics


def reloader(registry: ModelRegistry, read: Callable[[], Settings]) -> Reloader:
    """Return the reloader of a server.

    Args:
        read: Returns the current settings.
    """
    return Reloader(registry, partial(load, registry), read)


def load(registry: ModelRegistry, checked: Bundle) -> LoadedModel:
    """Load one bundle for a server and start its decode pool.

    Raises:
        StartupError: It cannot be served.
    """
    began = time.monotonic()
    settings, metrics = registry.settings, registry.metrics
    positions = checked.manifest.shape["max_positions"]
    if settings.max_sentence_tokens > positions:
        raise ConfigError(f"max_sentence_tokens={settings.max_sentence_tokens}: the model has {positions}")
    tokenizer, runners = open_engine(checked, registry.num_workers, registry.threads)
    pool = DecodePool(
        runners,
        queue_limits(settings),
        metrics.of_one_engine(),
        max_running=settings.max_running_sentences,
        max_batch_tokens=settings.max_batch_tokens,
    )
    translator = Translator(
        checked, tokenizer, pool, metrics, max_sentence_tokens=settings.max_sentence_tokens
    )
    for source, target in checked.manifest.pairs:
        metrics.add_pair(f"{source}-{target}")
    pool.start()
    return LoadedModel(checked, translator, pool, time.time(), time.monotonic() - began)


def open_engine(checked: Bundle, num_runners: int, threads: int) -> tuple[Tokenizer, list[ModelRunner]]:
    """Open what a bundle holds, and check that it is a model: warmed up, it gives the answers that are known of it.

    Args:
        threads: Of each runner.

    Raises:
        BundleError: It cannot run, or does not answer as it did when it was exported.
    """
    tokenizer, sessions = _tokenizer(checked), open_sessions(checked, threads)
    runners = [ModelRunner(sessions, checked.manifest.shape) for _ in range(num_runners)]
    for runner in runners:
        runner.warm_up()
    known_answers.check(runners[0], checked)
    return tokenizer, runners


def _tokenizer(checked: Bundle) -> Tokenizer:
    """Open the tokenizer of a bundle, and check that the graphs were made for it."""
    try:
        tokenizer = Tokenizer(checked.read(bundle.TOKENIZER))
    except ValueError as error:
        raise BundleError(f"bundle {checked.folder}: {bundle.TOKENIZER}: {error}") from None
    wanted = checked.manifest.shape["vocabulary"]
    if tokenizer.vocabulary_size != wanted:
        message = (
            f"{bundle.TOKENIZER} has {tokenizer.vocabulary_size} pieces, {bundle.MANIFEST} says {wanted}"
        )
        raise BundleError(f"bundle {checked.folder}: {message}")
    if unknown := {target for _, target in checked.manifest.pairs} - tokenizer.languages.keys():
        message = f"{bundle.TOKENIZER} has no tag for {', '.join(sorted(unknown))}"
        raise BundleError(f"bundle {checked.folder}: {message}")
    return tokenizer
