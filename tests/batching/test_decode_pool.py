"""The life of a pool: from its first sentence to its last."""

import pytest

from dragoman.errors import Unavailable
from dragoman.observability.metrics import Metrics
from tests.fakes import FakeRunner, decode_request, make_pool


def test_close_finishes_what_waits(metrics: Metrics) -> None:
    """
    Closing finishes the running and the waiting, then refuses what comes later.
    """
    pool = make_pool(metrics, FakeRunner(), max_running=1)
    accepted = [decode_request(11, 12), decode_request(13), decode_request(14)]
    pool.submit(accepted)
    pool.start()

    pool.close()

    assert [[11, 12], [13], [14]] == [sentence.future.result(timeout=0).best.tokens for sentence in accepted]
    with pytest.raises(Unavailable) as refused:
        pool.submit([decode_request(15)])
    assert "DRAINING" == refused.value.reason


def test_close_without_work(metrics: Metrics) -> None:
    """
    An idle loop closes at once, one that was never started too, and closing twice does no harm.
    """
    idle, never_started = make_pool(metrics, FakeRunner()), make_pool(metrics, FakeRunner())
    idle.start()

    for pool in (idle, idle, never_started):
        pool.close()
