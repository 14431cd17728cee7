"""Known answers: what is whole but no model, or not the model that was exported, is not served."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from dragoman import bundle
from dragoman.bundle import MANIFEST, WEIGHTS, Bundle
from dragoman.engine import known_answers
from dragoman.errors import BundleError
from dragoman.registry.loading import open_engine
from dragoman.text.tokenizer import EOS_ID
from tests.bundles import write_model


def altered(folder: Path, change: Callable[[bytes], bytes], *, knows: bool = True) -> Bundle:
    """Return the embedded bundle with other weights, and checksums that agree with them."""
    write_model(folder, "tiny@11")
    manifest = bundle.load(folder).manifest
    (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes()))
    bundle.write_manifest(folder, manifest if knows else replace(manifest, known_answers=[]))
    return bundle.load(folder)


def refusal(checked: Bundle) -> str:
    """Return the one line with which a bundle is refused."""
    with pytest.raises(BundleError) as refused:
        open_engine(checked, num_runners=1, threads=1)
    assert str(checked.folder) in refused.value.message
    assert "\n" not in refused.value.message
    return refused.value.message


def test_the_embedded_bundle(default_bundle: Bundle) -> None:
    """
    The bundle that comes with the server has two known answers in each direction, and gives them.
    """
    answers = default_bundle.manifest.known_answers
    _, [runner] = open_engine(default_bundle, num_runners=1, threads=1)

    assert 2 * len(default_bundle.manifest.pairs) == len(answers)
    assert [answer.target for answer in answers] == known_answers.translate(
        runner, [answer.source for answer in answers], max_tokens=64
    )
    assert all(answer.target[-1] == EOS_ID for answer in answers)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: b"\xff" * len(weights), "the model computes what is not a number"),
        (
            lambda weights: b"\0" * len(weights),
            "a mean log-probability of -8.987 instead of -0.692, the limit is 0.05 off",
        ),
        (lambda weights: weights[4096:] + weights[:4096], "this is not the model that was exported"),
    ],
    ids=["ones", "zeros", "shifted"],
)
def test_no_model(tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    """
    Weights that are intact, by their checksum, and make no sense are refused.
    """
    assert said in refusal(altered(tmp_path / "model", change))


@pytest.mark.parametrize("byte", [b"\xff", b"\0"])
def test_no_model_without_known_answers(tmp_path: Path, byte: bytes) -> None:
    """
    Without known answers, as older bundles are, a model must still tell one token from another.
    """
    broken = altered(tmp_path / "model", lambda weights: byte * len(weights), knows=False)

    assert "the model finds all tokens equally probable, or not a number" in refusal(broken)


def test_older_bundles(tmp_path: Path) -> None:
    """
    A bundle of this format from before there were known answers is served.
    """
    folder = write_model(tmp_path / "model", "tiny@11")
    content = json.loads((folder / MANIFEST).read_bytes())
    del content["known_answers"]
    (folder / MANIFEST).write_text(json.dumps(content))

    open_engine(bundle.load(folder), num_runners=1, threads=1)


def test_another_model(tmp_path: Path) -> None:
    """
    A working model with the known answers of another is refused: somebody mixed two up.
    """
    checked = altered(tmp_path / "model", lambda weights: weights)
    answers = checked.manifest.known_answers
    others = [replace(mine, target=yours.target) for mine, yours in pairwise(answers)]
    bundle.write_manifest(checked.folder, replace(checked.manifest, known_answers=others))

    assert "the known translation of 'The train leaves" in refusal(bundle.load(checked.folder))


def test_slightly_other_weights(tmp_path: Path) -> None:
    """
    What differs as kernels of another processor might, or a little more, is the same model.
    """
    folder = write_model(tmp_path / "model", "tiny@11", seed=1)

    open_engine(bundle.load(folder), num_runners=1, threads=1)
