"""How cross-entropy falls with the tokens seen."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.corpora.packing import DataError
from models.evaluation import learning_curve
from models.evaluation.learning_curve import Fit, Prediction, curve_svg, fit, predict, read

TOKENS = [2e6, 4e6, 6e6, 9e6, 13e6, 20e6]
TRUE = Fit(floor=1.5, scale=3.0, exponent=0.3)
POINTS = [(tokens, TRUE.at(tokens)) for tokens in TOKENS]


@given(st.floats(0.5, 2.5), st.floats(0.5, 5.0), st.floats(0.1, 0.6))
def test_finds_the_curve_that_made_the_points(floor: float, scale: float, exponent: float) -> None:
    """
    Points on a power law give that law back, and what it says of ten times the tokens.
    """
    made = Fit(floor, scale, exponent)

    found = fit([(tokens, made.at(tokens)) for tokens in TOKENS])

    assert found.error([(tokens, made.at(tokens)) for tokens in TOKENS]) < 1e-3
    assert made.at(2e8) == pytest.approx(found.at(2e8), abs=0.01)


def test_range_of_a_prediction() -> None:
    """
    Exact points leave no doubt; one that lies off the curve does, the more the further away.
    """
    [exact] = predict(POINTS, [1e8])
    off = [*POINTS[:-1], (POINTS[-1][0], POINTS[-1][1] + 0.02)]
    near, far = predict(off, [3e7, 1e9])

    assert exact.most - exact.least < 0.01
    assert near.least < near.nats < near.most
    assert far.most - far.least > near.most - near.least > 0.02


def test_reads_the_evaluations_of_a_training(tmp_path: Path) -> None:
    """
    Lines without a development cross-entropy are passed over; the rest comes in the order of the tokens.
    """
    path = tmp_path / "metrics.jsonl"
    records = [{"tokens": 9, "entropy": 3.0}, {"tokens": 5, "loss": 2.0}, {"tokens": 4, "entropy": 3.5}]
    path.write_text("\n".join(map(json.dumps, records)))

    assert [(4, 3.5), (9, 3.0)] == read(path)


@pytest.mark.parametrize("content", ["{", "[]\n3", '{"entropy": 3.0}'])
def test_refuses_what_is_no_metrics_file(tmp_path: Path, content: str) -> None:
    """
    The error names the file.
    """
    path = tmp_path / "metrics.jsonl"
    path.write_text(content)

    with pytest.raises(DataError, match=r"metrics\.jsonl: not the metrics of a training"):
        read(path)


def test_draws_points_and_predictions() -> None:
    """
    A circle for each evaluation, a label for each prediction, all inside the card.
    """
    picture = curve_svg(POINTS, [Prediction(1e8, 2.25, 2.2, 2.3)])

    root = ElementTree.fromstring(picture)
    circles = [one for one in root.iter() if one.tag.endswith("circle")]
    labels = [one.text for one in root.iter() if one.tag.endswith("text")]
    assert len(POINTS) == len(circles)
    assert "100 M: 2.25" in labels
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(
        0 < float(one.attrib["cx"]) < width and 0 < float(one.attrib["cy"]) < height for one in circles
    )


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Tells curve and predictions and draws them; too few evaluations are an error that says how many there are.
    """
    metrics, svg = tmp_path / "metrics.jsonl", tmp_path / "curve.svg"

    def run(points: list[tuple[float, float]]) -> None:
        metrics.write_text(
            "".join(json.dumps({"tokens": tokens, "entropy": nats}) + "\n" for tokens, nats in points)
        )
        monkeypatch.setattr(sys, "argv", ["curve", str(metrics), "--predict", "1e8", "--svg", str(svg)])
        learning_curve.main()

    run(POINTS)
    assert f"{TRUE.at(1e8):.2f}" in capsys.readouterr().out
    assert svg.read_text().endswith("</svg>\n")
    with pytest.raises(SystemExit, match="4 evaluations, a curve needs 5"):
        run(POINTS[:4])
