"""Who answers a call, and what happens to a version that answers no more."""

import weakref
from collections.abc import Iterator

import pytest

from dragoman.bundle import Bundle
from dragoman.config import Settings
from dragoman.errors import NotServed, OverLimit, Unavailable
from dragoman.registry.model_registry import ModelRegistry
from tests.fakes import decode_request
from tests.registry.conftest import Load
from tests.registry.test_versions import bundles


@pytest.fixture
def three(registry: ModelRegistry, load: Load, default_bundle: Bundle) -> Iterator[ModelRegistry]:
    """Return a server of a@2, a@1 and b@5."""
    registry.exchange([load(bundle) for bundle in bundles(default_bundle, "a@2 a@1 b@5")])
    yield registry
    registry.close()


class TestPick:
    @pytest.mark.parametrize(
        ("wanted", "answers"), [("", "a@2"), ("a", "a@2"), ("a@1", "a@1"), ("a@2", "a@2"), ("b", "b@5")]
    )
    def test_found(self, three: ModelRegistry, wanted: str, answers: str) -> None:
        """
        No name is the default name, and no version the newest.
        """
        assert answers == three.pick(wanted).full_name

    @pytest.mark.parametrize(
        ("wanted", "reason"),
        [
            ("c", "MODEL_NOT_SERVED"),
            ("@1", "MODEL_NOT_SERVED"),
            ("a@3", "VERSION_NOT_SERVED"),
            ("a@", "VERSION_NOT_SERVED"),
            ("a@1@1", "VERSION_NOT_SERVED"),
            ("b@1", "VERSION_NOT_SERVED"),
        ],
    )
    def test_not_served(self, three: ModelRegistry, wanted: str, reason: str) -> None:
        """
        What is not served is refused with the list of what is.
        """
        with pytest.raises(NotServed) as refused:
            three.pick(wanted)

        assert (reason, "a@2, a@1, b@5") == (refused.value.reason, refused.value.metadata["served"])


class TestUsing:
    def test_counts(self, three: ModelRegistry) -> None:
        """
        A model knows how many calls run on it, also when one fails.
        """
        with three.using("") as model, three.using("a@2"):
            assert 2 == model.calls
        with pytest.raises(NotServed), three.using("a"):
            raise NotServed("whatever")
        with pytest.raises(NotServed), three.using("none"):
            pass

        assert 0 == model.calls


class TestExchange:
    def test_new_calls_go_to_the_new(self, three: ModelRegistry, load: Load, default_bundle: Bundle) -> None:
        """
        A call keeps the model it began on; the next one gets the new version.
        """
        [new] = [load(bundle) for bundle in bundles(default_bundle, "a@3")]
        with three.using("a") as old:
            gone = three.exchange([new, *three.models[1:]])

            assert [old] == gone == three.retiring
            assert new is three.pick("a")
            with pytest.raises(NotServed):
                three.pick("a@2")

    def test_series_follow(self, three: ModelRegistry, load: Load, default_bundle: Bundle) -> None:
        """
        A version is shown from the exchange on, and until it is closed; then its series are gone.
        """
        [new] = [load(bundle) for bundle in bundles(default_bundle, "a@3")]

        def shown(name: str) -> tuple[float | None, float | None]:
            value = three.metrics.registry.get_sample_value
            labels = {"model": name}
            return value("dragoman_model_info", labels), value("dragoman_model_load_seconds", labels)

        [old] = three.exchange([new, *three.models[1:]])

        assert ((1.0, 0.5), (1.0, 0.5)) == (shown("a@2"), shown("a@3"))
        three.retire(old)
        assert ((None, None), (1.0, 0.5)) == (shown("a@2"), shown("a@3"))

    def test_series_of_a_replaced_version_stay(
        self, three: ModelRegistry, load: Load, default_bundle: Bundle
    ) -> None:
        """
        The same version with other content takes the series over.
        """
        [new] = [load(bundle) for bundle in bundles(default_bundle, "a@2")]
        [old] = three.exchange([new, *three.models[1:]])

        three.retire(old)

        assert 1.0 == three.metrics.registry.get_sample_value("dragoman_model_info", {"model": "a@2"})

    def test_retired_is_closed_and_forgotten(
        self, three: ModelRegistry, load: Load, default_bundle: Bundle
    ) -> None:
        """
        A retired version takes no more sentences, and its engine is gone although somebody holds its translator.
        """
        [old] = three.exchange(three.models[1:])
        engine = weakref.ref(old.pool.workers[0].runner)
        translator = old.translator

        three.retire(old)

        assert [] == three.retiring
        assert engine() is None
        assert translator is not None
        with pytest.raises(Unavailable):
            old.pool.submit([decode_request(7)])


def test_limits_change_while_it_runs(three: ModelRegistry) -> None:
    """
    New limits on who waits hold from the next call on, for every version.
    """
    three.configure(Settings(max_queued_sentences=1, max_queued_tokens=10**6))

    for model in three.models:
        with pytest.raises(OverLimit, match="sentences in one call: 2, the limit is 1"):
            model.pool.submit([decode_request(7), decode_request(8)])


def test_engines_add_up(three: ModelRegistry) -> None:
    """
    What several versions have waiting and running is shown as one sum.
    """
    first, second, _ = (model.pool for model in three.models)
    metrics = [three.metrics.of_one_engine() for _ in (first, second)]
    for each, value in zip(metrics, (5, 3), strict=True):
        each.queue_depth[0].set(value)
    metrics[0].queue_depth[0].set(1)

    assert 4.0 == three.metrics.registry.get_sample_value("dragoman_queue_depth", {"priority": "interactive"})
