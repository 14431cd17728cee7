"""Every time series the server exports, named in one place. Built once in `dragoman.registry.loading`, never a global."""

from __future__ import annotations

import copy
import threading

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TOKENS = (1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
STAGES = ("queue", "decode")
PRIORITIES = ("interactive", "bulk")  # by their number
FLAGS = (
    "target_cut", "sentence_split", "repetition", "number_mismatch", "url_mismatch", "placeholder_mismatch",
    "untranslated_copy", "uncovered_source", "length_outlier", "source_is_target_language", "wrong_source_language",
    "markup_mismatch",
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 128, 256)
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
# Why calls are refused: those of the contract that this version knows.
REASONS = (
    "EMPTY_REQUEST", "INVALID_LANGUAGE_CODE", "SAME_LANGUAGE", "INVALID_OPTION", "WORDS_NOT_IN_TEXT",
    "PREFIX_NEEDS_ONE_SENTENCE",
    "NOT_YET_SERVED", "MALFORMED_MESSAGE", "TOO_MANY_TEXTS", "TEXT_TOO_LONG", "REQUEST_TOO_LONG", "REPLY_TOO_LARGE",
    "LANGUAGE_NOT_SERVED", "PAIR_NOT_SERVED", "MODEL_NOT_SERVED", "VERSION_NOT_SERVED",
    "QUEUE_FULL", "MEMORY_FULL", "PROCESS_MEMORY_FULL", "REQUEST_TOO_SLOW", "QUOTA_EXHAUSTED", "CREDENTIAL_MISSING", "CREDENTIAL_INVALID", "NOT_ALLOWED",
    "DUPLICATE_ID", "DEADLINE_TOO_SHORT", "DEADLINE_PASSED", "STARTING", "DRAINING", "INTERNAL_ERROR",
)  # fmt: skip
# Why connections are closed: what came over them too often, or where they come from.
CLOSED = ("refused_calls", "reset_calls", "health_calls", "unknown_methods", "banned")
# What becomes of a reload, for each model or set of settings.
RELOADS = ("model_loaded", "model_retired", "model_refused", "settings_changed", "settings_refused", "failed")
METHODS = ("Translate", "StreamTranslate", "Align", "DetectLanguage", "ListModels")
SERVICE = "dragoman.v1.TranslationService"


class Share:
    """What one of several engines adds to a gauge."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge, self._value = gauge, 0.0
        self._changing = threading.Lock()

    def set(self, value: float) -> None:
        """Replace what this engine adds."""
        with self._changing:
            self._gauge.inc(value - self._value)
            self._value = value


def _shared(gauge: Gauge | Share) -> Share:
    assert isinstance(gauge, Gauge)  # no engine is made of another's share
    return Share(gauge)


class Metrics:
    """The series of one server; label sets that are known beforehand start at 0, and there are no others."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, and nobody asks for it
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._add_batch(registry)
        self._add_work(registry)
        self._add_model(registry)
        self._add_calls(registry)
        self._add_arrivals(registry)

    def _add_batch(self, registry: CollectorRegistry) -> None:
        """Add what the scheduler decides and what a step takes."""
        waits = Histogram(
            "dragoman_queue_wait_seconds", "Time a sentence waited for a decoder row.", ["priority"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        waiting = Gauge("dragoman_queue_depth", "Sentences that wait.", ["priority"], registry=registry)
        self.queue_wait_seconds = [waits.labels(name) for name in PRIORITIES]
        self.queue_depth: list[Gauge | Share] = [waiting.labels(name) for name in PRIORITIES]
        self.running_sentences: Gauge | Share = Gauge(
            "dragoman_running_sentences",
            "Sentences in the batches of all decode loops; with beams each has several rows.",
            registry=registry,
        )
        self.batch_rows = Histogram(
            "dragoman_batch_rows",
            "Rows that shared a decoder step; a sentence has as many as its beam.",
            buckets=_ROWS,
            registry=registry,
        )
        self.batch_tokens = Histogram(
            "dragoman_batch_tokens", "Pieces read and written in a decoder step.",
            buckets=_TOKENS, registry=registry,
        )  # fmt: skip
        self.padding_ratio = Gauge(
            "dragoman_padding_ratio",
            "Share of the caches' positions that nothing stands in.",
            registry=registry,
        )
        self.cancelled = Counter(
            "dragoman_cancelled", "Sentences given up, by where they were.", ["stage"], registry=registry
        )
        for stage in STAGES:
            self.cancelled.labels(stage)
        self.wasted_target_tokens = Counter(
            "dragoman_wasted_target_tokens", "Target pieces written for nobody.", registry=registry
        )
        self.decode_step_seconds = Histogram(
            "dragoman_decode_step_seconds", "Time of one decoder step.", buckets=_SECONDS, registry=registry
        )

    def _add_work(self, registry: CollectorRegistry) -> None:
        """Add what is done, stage by stage and pair by pair."""
        self.stage_seconds = Histogram(
            "dragoman_stage_seconds", "Time of one pass through a stage.", ["stage"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        for stage in ("split", "encode"):
            self.stage_seconds.labels(stage)
        self.source_tokens = Counter(
            "dragoman_source_tokens", "Source pieces read.", ["pair"], registry=registry
        )
        self.target_tokens = Counter(
            "dragoman_target_tokens", "Target pieces written.", ["pair"], registry=registry
        )
        self.characters = Counter("dragoman_characters", "Code points of texts.", ["pair"], registry=registry)
        self.fidelity_flags = Counter(
            "dragoman_fidelity_flags", "Doubts about translations, by kind.", ["flag"], registry=registry
        )
        for flag in FLAGS:
            self.fidelity_flags.labels(flag)
        self.rejected = Counter("dragoman_rejected", "Calls refused.", ["reason"], registry=registry)
        for reason in REASONS:
            self.rejected.labels(reason)
        self.security_reloads = Counter(
            "dragoman_security_reloads", "Changed certificates and key files, read again.",
            ["file", "result"], registry=registry,
        )  # fmt: skip
        self.last_security_reload_successful = Gauge(
            "dragoman_last_security_reload_successful",
            "1 unless the certificate or the key file that is there now cannot be used.",
            ["file"], registry=registry,
        )  # fmt: skip
        for file in ("certificate", "keys"):
            self.last_security_reload_successful.labels(file).set(1)
            for result in ("ok", "failed"):
                self.security_reloads.labels(file, result)

    def _add_model(self, registry: CollectorRegistry) -> None:
        """Add what the server computes with, and what becomes of reloads."""
        self.model_info = Gauge(
            "dragoman_model_info", "1 for each loaded model.", ["model"], registry=registry
        )
        self.model_load_seconds = Gauge(
            "dragoman_model_load_seconds", "Time to load a model.", ["model"], registry=registry
        )
        self.reloads = Counter(
            "dragoman_reloads",
            "Models and settings that changed, or were refused.",
            ["result"],
            registry=registry,
        )
        for result in RELOADS:
            self.reloads.labels(result)
        self.last_reload_successful = Gauge(
            "dragoman_last_reload_successful",
            "1 unless the last reload refused something.",
            registry=registry,
        )
        self.metrics_connections_dropped = Counter(
            "dragoman_metrics_connections_dropped", "Connections to /metrics that were ended without an answer.",
            ["reason"], registry=registry,
        )  # fmt: skip
        for reason in ("full", "timeout"):
            self.metrics_connections_dropped.labels(reason)
        self.threads = Gauge("dragoman_threads", "Processor threads of the engine.", registry=registry)
        self.cpu_limit_cores = Gauge(
            "dragoman_cpu_limit_cores", "Processors the process may use.", registry=registry
        )

    def _add_calls(self, registry: CollectorRegistry) -> None:
        """Add what every gRPC dashboard expects, under the names of the usual middleware."""
        labels = ["grpc_type", "grpc_service", "grpc_method"]
        self.started = Counter("grpc_server_started", "Calls begun.", labels, registry=registry)
        self.handled = Counter(
            "grpc_server_handled", "Calls ended.", [*labels, "grpc_code"], registry=registry
        )
        self.handling_seconds = Histogram(
            "grpc_server_handling_seconds", "Time of a call.", labels, buckets=_SECONDS, registry=registry
        )
        for method in METHODS:
            kind = "bidi_stream" if method.startswith("Stream") else "unary"
            self.started.labels(kind, SERVICE, method)
            for code in _CODES:
                self.handled.labels(kind, SERVICE, method, code)
            self.handling_seconds.labels(kind, SERVICE, method)

    def _add_arrivals(self, registry: CollectorRegistry) -> None:
        """Add what becomes of calls and connections before a handler sees them."""
        self.arrived_calls = Counter(
            "dragoman_arrived_calls", "Calls, as the core of gRPC counts them.", registry=registry
        )
        self.taken_calls = Counter(
            "dragoman_taken_calls", "Calls that we took from the core; those it ended itself are missing.",
            registry=registry,
        )  # fmt: skip
        self.dropped_calls = Counter(
            "dragoman_dropped_calls", "Calls taken that no handler saw.", ["reason"], registry=registry
        )
        for reason in ("banned", "unknown_method"):
            self.dropped_calls.labels(reason)
        self.refused_connections = Counter(
            "dragoman_refused_connections", "Connections closed for what came over them.",
            ["reason"], registry=registry,
        )  # fmt: skip
        for reason in CLOSED:
            self.refused_connections.labels(reason)

    def of_one_engine(self) -> Metrics:
        """Return the same metrics for one of several engines; what each counts of its own is added up."""
        own = copy.copy(self)
        own.queue_depth = [_shared(gauge) for gauge in self.queue_depth]
        own.running_sentences = _shared(self.running_sentences)
        return own

    def add_model(self, name: str, load_seconds: float) -> None:
        """Show a model, by `name@version`."""
        self.model_info.labels(name).set(1)
        self.model_load_seconds.labels(name).set(load_seconds)

    def remove_model(self, name: str) -> None:
        """Show a model no more."""
        self.model_info.remove(name)
        self.model_load_seconds.remove(name)

    def add_pair(self, pair: str) -> None:
        """Start the series of one direction at 0."""
        for counter in (self.source_tokens, self.target_tokens, self.characters):
            counter.labels(pair)
