"""What tests of the lifecycle share: models that have everything but an engine."""

from collections.abc import Callable, Iterator

import pytest

from dragoman.bundle import Bundle
from dragoman.config import Settings
from dragoman.observability.metrics import Metrics
from dragoman.registry.model_registry import LoadedModel, ModelRegistry
from dragoman.text.tokenizer import Tokenizer
from tests.fakes import make_model

Load = Callable[[Bundle], LoadedModel]


@pytest.fixture
def load(tokenizer: Tokenizer, metrics: Metrics) -> Iterator[Load]:
    """Return what makes a model of a bundle, whose engine repeats the source."""
    made: list[LoadedModel] = []

    def make(bundle: Bundle) -> LoadedModel:
        made.append(make_model(bundle, tokenizer, metrics))
        return made[-1]

    yield make
    for model in made:
        model.close()


@pytest.fixture
def registry(metrics: Metrics) -> ModelRegistry:
    """Return a server without models."""
    return ModelRegistry(Settings(), metrics, num_workers=1, threads=1, cores=1.0, kernel_set="none")
