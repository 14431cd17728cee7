"""What unit tests share: the path of a sentence with a fake engine."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from dragoman.bundle import AlignmentHead, Bundle
from dragoman.observability.metrics import Metrics
from dragoman.text.tokenizer import Tokenizer
from dragoman.translation.translator import Translator
from tests.fakes import FakeRunner, make_pool


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics that nobody else counts in."""
    return Metrics(CollectorRegistry())


@pytest.fixture
def translator(default_bundle: Bundle, tokenizer: Tokenizer, metrics: Metrics) -> Iterator[Translator]:
    """Return a translator whose engine repeats the source, and which takes 40 tokens at a time."""
    pool = make_pool(metrics, FakeRunner())
    pool.start()
    head = AlignmentHead(layer=0, head=0, shift=0, threshold=0.3, is_guided=False)
    bundle = replace(default_bundle, manifest=replace(default_bundle.manifest, alignment=head))
    yield Translator(bundle, tokenizer, pool, metrics, max_sentence_tokens=40)
    pool.close()
