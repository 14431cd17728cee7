"""How a load is drawn, counted and drawn again."""

import json
import math
from dataclasses import replace
from itertools import islice, pairwise
from statistics import fmean, stdev
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.bench.load import Load, Text, built_in_texts, read_texts
from dragoman.bench.plot import percentile_svg
from dragoman.bench.report import OK, UNFINISHED, Report, Sample, Spread, curve, percentile
from dragoman.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"
TEXTS = (Text("en", "fr", "One."), Text("fr", "en", "Deux."), Text("en", "es", "Three."))
LATENCIES = st.lists(st.floats(0, 1e4), min_size=1, max_size=300)


def load(**fields: Any) -> Load:
    """Return an open loop of 10 calls a second, for 9 seconds after 1 that does not count."""
    filled: dict[str, Any] = {"rate": 10.0, "seconds": 9.0, "warm_up_seconds": 1.0, "texts": TEXTS} | fields
    return Load(**filled)


def sample(due: float, latency: float = 0.1, *, late: float = 0.0, code: str = OK, tokens: int = 0) -> Sample:
    """Return a call that was due then, and over so many seconds later."""
    return Sample(due, due + late, due + latency, code, tokens)


def report(*samples: Sample, stopped: float = 10.0, **fields: Any) -> Report:
    """Return what is found in some samples of a load that was sent to its end."""
    return Report.of("host:1", load(**fields), samples, stopped_seconds=stopped)


class TestLoad:
    def test_arrivals_are_a_poisson_process(self) -> None:
        """
        Gaps between calls are as long as the rate says on average, and spread as much as they are long.
        """
        due = [*load(rate=100.0, seconds=200.0).arrivals()]

        gaps = [later - earlier for earlier, later in pairwise([0.0, *due])]
        assert fmean(gaps) == pytest.approx(0.01, rel=0.03)
        assert stdev(gaps) == pytest.approx(0.01, rel=0.05)
        assert sum(gap < 0.01 for gap in gaps) / len(gaps) == pytest.approx(1 - math.exp(-1), abs=0.02)

    def test_arrivals_end_with_the_load(self) -> None:
        """
        Calls are due in ascending order, during the warm-up and the seconds that count, and never after.
        """
        due = [*load().arrivals()]

        assert sorted(due) == due
        assert 0.0 < due[0] < 1.0
        assert 9.0 < due[-1] < 10.0

    def test_same_seed_same_load(self) -> None:
        """
        A seed decides when calls are due and in which order texts are sent; another seed decides otherwise.
        """
        first, again, other = load(seed=1), load(seed=1), load(seed=2)

        assert [*first.arrivals()] == [*again.arrivals()]
        assert [*first.arrivals()] != [*other.arrivals()]
        assert [*islice(first.order(), 30)] == [*islice(again.order(), 30)]
        assert [*islice(first.order(), 30)] != [*islice(other.order(), 30)]

    def test_every_text_is_sent_equally_often(self) -> None:
        """
        All texts are sent before one is sent again.
        """
        order = load().order()

        assert [[0, 1, 2]] * 5 == [sorted(islice(order, 3)) for _ in range(5)]

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"rate": None}, "give a rate (open loop) or callers (closed loop); given: neither"),
            ({"callers": 2}, "give a rate (open loop) or callers (closed loop); given: both"),
            ({"rate": 0.0}, "rate=0.0: must be between 0.01 and 10,000"),
            ({"rate": math.nan}, "rate=nan: must be between 0.01 and 10,000"),
            ({"rate": None, "callers": 0}, "callers=0: must be between 1 and 10,000"),
            ({"seconds": 0.0}, "seconds=0.0: must be between 0.1 and 86,400"),
            ({"warm_up_seconds": -1.0}, "warm_up_seconds=-1.0: must be between 0 and 3,600"),
            ({"deadline_seconds": math.inf}, "deadline_seconds=inf: must be between 0.01 and 3,600"),
            ({"beam_size": 65}, "beam_size=65: must be between 0 and 64"),
            ({"seed": -1}, "seed=-1: must be between 0 and 9,223,372,036,854,775,807"),
            ({"rate": 1e4, "seconds": 999.0}, "1,000 seconds: 10,000,000 calls, the limit is 2,000,000"),
            ({"texts": ()}, "0 texts; at least 1 is needed"),
        ],
    )
    def test_limits(self, fields: dict[str, Any], said: str) -> None:
        """
        A number out of range is refused with the limit and the number.
        """
        with pytest.raises(ConfigError) as refused:
            load(**fields)

        assert refused.value.message.replace(".0 ", " ").endswith(said)


class TestTexts:
    def test_lines(self) -> None:
        """
        A line is a text, or a text after its two languages; blank lines are left out, further tabs are text.
        """
        lines = ["One.\n", "\r\n", "fr\tes\tDeux.\r\n", "en-GB\tfr_CA\ta\tb"]

        texts = read_texts(lines, name="file", source="en", target="es")

        assert [
            Text("en", "es", "One."), Text("fr", "es", "Deux."), Text("en-GB", "fr_CA", "a\tb"),
        ] == texts  # fmt: skip

    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            ([], "file: 0 texts; at least 1 is needed"),
            (["", " ", "en\tfr\t "], "file: 0 texts; at least 1 is needed"),
            (["a", "en\tb"], "file: line 2 has 2 columns; 1 (text) or 3 (source, target, text) make sense"),
            (["two words\tfr\ta"], "file: line 1: 'two words' is not a language code"),
            (["en\t\ta"], "file: line 1: '' is not a language code"),
        ],
        ids=["empty", "blank", "columns", "source", "target"],
    )
    def test_refused(self, lines: list[str], said: str) -> None:
        """
        A file that cannot be meant is refused, with the line.
        """
        with pytest.raises(ConfigError) as refused:
            read_texts(lines, name="file")

        assert said == refused.value.message

    def test_built_in(self) -> None:
        """
        Without a file there are forty different texts: ten in each direction, from one word to a paragraph.
        """
        texts = built_in_texts()

        pairs = [(text.source, text.target) for text in texts]
        assert {("en", "fr"): 10, ("en", "es"): 10, ("fr", "en"): 10, ("es", "en"): 10} == {
            pair: pairs.count(pair) for pair in pairs
        }
        assert 40 == len({text.content for text in texts})
        lengths = [len(text.content.split()) for text in texts]
        assert 1 == min(lengths)
        assert max(lengths) >= 30


class TestPercentile:
    @pytest.mark.parametrize(
        ("per_cent", "expected"),
        [(0, 1), (50, 500), (90, 900), (95, 950), (99, 990), (99.9, 999), (99.91, 1000), (100, 1000)],
    )
    def test_nearest_rank(self, per_cent: float, expected: float) -> None:
        """
        Of the numbers from 1 to 1000, p99.9 is 999: a percentile is a latency that somebody saw.
        """
        assert expected == percentile(range(1, 1001), per_cent)

    @given(LATENCIES, st.floats(0, 100))
    def test_covers_so_many(self, values: list[float], per_cent: float) -> None:
        """
        At least so many per cent of the values are not above the percentile, which is one of them.
        """
        found = percentile(sorted(values), per_cent)

        assert found in values
        assert sum(value <= found for value in values) >= per_cent / 100 * len(values) - 1e-6

    def test_spread(self) -> None:
        """
        Few values have percentiles too; none have nothing.
        """
        assert Spread(mean=2.0, p50=2, p90=3, p95=3, p99=3, max=3) == Spread.of([3, 1, 2])
        assert None is Spread.of([])

    @given(LATENCIES)
    def test_curve_rises(self, values: list[float]) -> None:
        """
        A curve begins at the median, never falls, and ends where the calls are too few to tell.
        """
        points = curve(values)

        assert (50, percentile(sorted(values), 50)) == points[0]
        assert sorted(points) == points
        assert points[-1][0] == pytest.approx(100 - 100 / max(2, len(values)))

    def test_curve_ends_at_three_nines(self) -> None:
        """
        However many calls there are, a curve ends at p99.9; without a call there is none.
        """
        assert (99.9, 9990) == pytest.approx(curve(range(1, 10_001))[-1])
        assert [] == curve([])


class TestReport:
    def test_warm_up_does_not_count(self) -> None:
        """
        A call that was due during the warm-up is in no count and no percentile.
        """
        found = report(sample(0.5, latency=9.0), sample(2.0, latency=0.1))

        assert (1, 1) == (found.num_sent, found.num_ok)
        assert found.latency is not None
        assert 0.1 == pytest.approx(found.latency.max)

    def test_rate_is_that_of_answers(self) -> None:
        """
        Rates count answers between the warm-up and the end of the load, whenever their calls were due.
        """
        found = report(
            sample(0.9, latency=0.2, tokens=9),
            sample(5.0, tokens=18),
            sample(9.5, latency=0.4, tokens=18),
            sample(9.9, latency=2.0, tokens=100),
            sample(6.0, code="UNAVAILABLE"),
        )

        assert 9.0 == found.window
        assert 3 / 9 == pytest.approx(found.achieved_rate)
        assert found.target_tokens_per_second == pytest.approx(5.0)

    def test_tokens_unknown(self) -> None:
        """
        A server that counts no tokens is not said to have written none.
        """
        assert None is report(sample(2.0)).target_tokens_per_second

    def test_failures_by_code(self) -> None:
        """
        Failed calls are counted by code, and their share is said, for the latencies are without them.
        """
        found = report(
            sample(2.0), sample(3.0, code="UNAVAILABLE"), sample(4.0, code="DEADLINE_EXCEEDED", latency=5.0),
            sample(5.0, code="UNAVAILABLE"), sample(6.0, code=UNFINISHED),
        )  # fmt: skip

        assert {"DEADLINE_EXCEEDED": 1, "UNAVAILABLE": 2} == found.failures
        assert (5, 1, 1) == (found.num_sent, found.num_ok, found.num_unfinished)
        assert "60.0% of the calls failed, and are not among the latencies" in found.doubts()

    def test_latency_counts_from_when_a_call_was_due(self) -> None:
        """
        A call that the generator sent late has waited since it was due: no omission is coordinated.
        """
        late = sample(2.0, latency=3.0, late=2.9)

        assert (3.0, 2.9) == pytest.approx((late.latency, late.lateness))

    @pytest.mark.parametrize(
        ("late", "latency", "is_said"),
        [(0.001, 0.01, False), (0.02, 0.1, True), (0.02, 1.0, False), (0.2, 1.0, True)],
        ids=["hardly", "late", "small beside the latency", "late all the same"],
    )
    def test_late_generator(self, late: float, latency: float, is_said: bool) -> None:
        """
        A generator that is later than 5 ms and a tenth of the median latency says so.
        """
        found = report(*(sample(1 + i / 20, latency=latency, late=late) for i in range(150)))

        assert is_said == any("the generator itself was late" in doubt for doubt in found.doubts())

    @pytest.mark.parametrize(
        ("slower", "is_growing"), [(0.0, False), (0.0005, False), (0.1, True)], ids=["flat", "noise", "queue"]
    )
    def test_growth(self, slower: float, is_growing: bool) -> None:
        """
        Where calls of the last third waited much longer than those of the first, the queue grew.
        """
        found = report(*(sample(1 + i / 20, latency=0.02 + i / 20 * slower) for i in range(180)))

        assert found.growth is not None
        assert is_growing == found.growth.is_growing
        assert is_growing == any("the queue grew" in doubt for doubt in found.doubts())

    def test_growth_of_calls_that_never_came_back(self) -> None:
        """
        Calls that ran into their deadline waited as long as that; refusals did not wait.
        """
        early = [sample(1 + i / 20, latency=0.1) for i in range(60)]
        timed_out = [sample(7 + i / 20, latency=5.0, code="DEADLINE_EXCEEDED") for i in range(60)]
        refused = [replace(call, done=call.due, code="RESOURCE_EXHAUSTED") for call in timed_out]

        growth = report(*early, *timed_out, *refused).growth
        assert growth is not None
        assert (0.1, 5.0) == pytest.approx((growth.first, growth.last))

    def test_growth_needs_calls(self) -> None:
        """
        Of a handful of calls nobody can say whether their queue grew; in a closed loop it cannot.
        """
        growing = [sample(1 + i / 20, latency=0.1 + i) for i in range(180)]

        assert None is report(sample(2.0), sample(9.0, latency=9.0)).growth
        assert not [doubt for doubt in report(*growing, rate=None, callers=2).doubts() if "queue" in doubt]

    def test_interrupted(self) -> None:
        """
        A load that was cut short is measured as far as it went, and says so.
        """
        found = report(sample(2.0), sample(2.5), stopped=3.0)

        assert not found.is_complete
        assert 1.0 == found.achieved_rate
        assert "interrupted after 2.0 of 9 seconds that count" in found.doubts()

    def test_interrupted_while_warming_up(self) -> None:
        """
        A load that was cut short before anything counted has nothing to tell.
        """
        found = report(sample(0.1), stopped=0.5)

        assert (0, 0.0, 0.0) == (found.num_sent, found.window, found.achieved_rate)
        assert (None, None, None) == (found.latency, found.lateness, found.growth)

    def test_few_calls(self) -> None:
        """
        A p99 of fewer than a hundred calls is doubted; a quiet measurement is not doubted at all.
        """
        calls = [sample(1 + i / 20) for i in range(100)]

        assert ["99 calls were answered; p99 says little about fewer than 100"] == [
            *report(*calls[1:]).doubts()
        ]
        assert [] == [*report(*calls).doubts()]

    def test_json(self) -> None:
        """
        Everything can be written as JSON: units in the names, the curve in place of each latency.
        """
        written = json.loads(json.dumps(report(*(sample(1 + i / 12) for i in range(100))).to_dict()))

        assert (100, 100, True, []) == tuple(
            written[k] for k in ("num_sent", "num_ok", "is_complete", "doubts")
        )
        assert {"mean", "p50", "p90", "p95", "p99", "max"} == written["latency_seconds"].keys()
        assert {"first", "last"} == written["growth_seconds"].keys()
        assert {"per_cent": 50.0, "seconds": pytest.approx(0.1)} == written["curve"][0]
        assert (10.0, None, 3) == tuple(written["load"][name] for name in ("rate", "callers", "num_texts"))


class TestPlot:
    @given(st.dictionaries(st.text(max_size=20), LATENCIES, min_size=1, max_size=8), st.text(max_size=60))
    @settings(max_examples=60)
    def test_is_always_xml(self, latencies: dict[str, list[float]], title: str) -> None:
        """
        Whatever the names and however wide the latencies are spread, the figure is well-formed and finite.
        """
        figure = percentile_svg(latencies, title=title)

        root = ElementTree.fromstring(figure)
        assert f"{SVG}svg" == root.tag
        assert len(latencies) == len(root.findall(f"{SVG}circle"))
        assert "nan" not in "".join(path.get("d", "") for path in root.iter(f"{SVG}path"))
        height = float(root.get("height", "0"))
        assert all(0 < float(mark.get("y", "0")) < height for mark in root.iter(f"{SVG}text"))

    def test_one_curve_needs_no_legend(self) -> None:
        """
        The axis names percentiles from p50 to p99.9 and round latencies; a single curve is not named again.
        """
        figure = percentile_svg({"here": [i / 1000 for i in range(1, 1001)]}, title="Load")

        written = [mark.text for mark in ElementTree.fromstring(figure).iter(f"{SVG}text")]
        assert "Load" == written[0]
        assert ["200 ms", "500 ms", "1,000 ms"] == written[1:4]
        assert ["p50", "p75", "p90", "p95", "p99", "p99.5", "p99.9"] == written[4:11]
        assert ["999 ms"] == written[12:]

    def test_several_curves_are_named(self) -> None:
        """
        Measurements that are compared are told apart by a legend, each in a colour of its own.
        """
        figure = percentile_svg({"one": [0.1, 0.2], "the other": [0.3]})

        root = ElementTree.fromstring(figure)
        assert ["one", "the other"] == [mark.text for mark in root.iter(f"{SVG}text")][-2:]
        assert 2 == len({circle.get("fill") for circle in root.iter(f"{SVG}circle")})

    def test_higher_is_slower(self) -> None:
        """
        To the right lie the rarer calls, above the slower ones.
        """
        figure = percentile_svg({"slow": [2.0] * 1000, "fast": [0.1] * 10})

        slow, fast = ElementTree.fromstring(figure).iter(f"{SVG}circle")
        assert float(slow.get("cy", "")) < float(fast.get("cy", ""))
        assert float(slow.get("cx", "")) > float(fast.get("cx", ""))

    def test_same_latencies_same_bytes(self) -> None:
        """
        A figure depends on nothing but its input, whose order does not matter.
        """
        assert percentile_svg({"a": [0.3, 0.1, 0.2]}) == percentile_svg({"a": [0.1, 0.2, 0.3]})

    @pytest.mark.parametrize("latencies", [{}, {"a": [0.1], "b": []}], ids=["no curve", "empty curve"])
    def test_nothing_to_draw(self, latencies: dict[str, list[float]]) -> None:
        """
        A curve without a call is refused.
        """
        with pytest.raises(ValueError, match="without a single latency"):
            percentile_svg(latencies)
