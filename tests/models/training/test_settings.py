"""The training configuration: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from models.training.settings import SettingsError, read
from tests.models.toy import CONFIG, ROOT


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a good configuration file."""
    path = tmp_path / "toy.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_the_configurations_that_come_with_it_are_good(name: str) -> None:
    """
    Every configuration of the repository can be read.
    """
    settings = read(ROOT / "models" / "configs" / f"{name}.toml")

    assert 8016 == settings.model.vocabulary
    assert 2 == len(settings.guided)


def test_reads_what_is_written(config: Path) -> None:
    """
    Values arrive under their names; the guided heads as such.
    """
    settings = read(config)

    assert (32, 600, 20_000) == (
        settings.model.width,
        settings.data.batch_tokens,
        settings.training.total_tokens,
    )
    assert [(0, 0, 1, 0.1)] == [(g.layer, g.head, g.shift, g.weight) for g in settings.guided]


def test_overrides_replace_values(config: Path) -> None:
    """
    `--set section.name=value` takes a TOML value, tables and lists included.
    """
    settings = read(
        config,
        ["training.total_tokens=7", "model.width=64", 'data.weights={"a.en-fr" = 2}', "alignment.guided=[]"],
    )

    assert (7, 64, {"a.en-fr": 2}, ()) == (
        settings.training.total_tokens, settings.model.width, settings.data.weights, settings.guided,
    )  # fmt: skip


@pytest.mark.parametrize(
    "override",
    ["training.total_tokens", "training.nothing=1", "total_tokens=1", "nothing.width=1", "model.width=wide"],
)
def test_overrides_name_settings(config: Path, override: str) -> None:
    """
    An override that names no setting, or gives no TOML value, is refused with its own text.
    """
    with pytest.raises(SettingsError, match="--set") as caught:
        read(config, [override])

    assert override in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("width = 32", "width = 32\ndepth = 3", r"\[model\]: unknown or missing: depth"),
        ("width = 32", "", r"\[model\]: unknown or missing: width"),
        ("[model]", "[modal]", "unknown section modal"),
        ("shift = 1,", "shfit = 1,", r"\[alignment\]: unknown or missing: shfit, shift"),
        ("guided =", "guide =", r"\[alignment\]"),
        ("width = 32", 'width = "32"', "model.width = '32': want int"),
        ("seed = 1", "seed = true", "data.seed = True: want int"),
        ("width = 32", "width = 33", "multiple of the 2 heads"),
        ("max_tokens = 40", "max_tokens = 65", "padded to 72"),
        ("batch_tokens = 600", "batch_tokens = 39", "data.batch_tokens = 39"),
        ("[[0, 600]]", "[[10, 600]]", r"training\.update_tokens"),
        ("[[0, 600]]", "[[0], [1, 600]]", r"training\.update_tokens"),
        ('"fp32"', '"fp8"', "want one of auto, bf16, fp32"),
        ("layer = 0", "layer = 1", "no head 0 in decoder layer 1"),
        ("shift = 1", "shift = 2", "want 0 or 1"),
        ('"toy.en-fr" = 1.0', '"toy.en-fr" = -1.0', "positive weights"),
        ("[model]", "[model", "line 2"),
    ],
)
def test_refuses_what_cannot_be(config: Path, old: str, new: str, said: str) -> None:
    """
    Unknown and missing names, wrong types and impossible values are refused; the message names them.
    """
    assert old in CONFIG
    config.write_text(CONFIG.replace(old, new))

    with pytest.raises(SettingsError, match=said) as caught:
        read(config)

    assert str(config) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """
    No file, or one that is not text, is an error with its name.
    """
    with pytest.raises(SettingsError, match=r"no\.toml: No such file"):
        read(tmp_path / "no.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"binary\.toml"):
        read(tmp_path / "binary.toml")
