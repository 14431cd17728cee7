"""Fine-tuning on a user's own pairs: what is read, what is refused, that it helps, how it goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from dragoman import bundle
from models.convert import export
from models.corpora.packing import DataError, Packed, save_ragged
from models.corpora.user_pairs import read_tsv, split
from models.network.transformer import Transformer
from models.paths import PUBLISHED
from models.training import checkpoint, finetune
from models.training.checkpoint import CheckpointError
from tests.models.toy import GUIDED, SHAPE, Toy, sentences

Main = Callable[..., Path]
EAGER = (  # random weights have more to learn than published ones
    "training.matrix_rate=0.02",
    "training.vector_rate=0.005",
    "training.update_tokens=[[0, 600]]",
    "data.batch_tokens=600",
)


@pytest.fixture
def init(tmp_path: Path) -> Path:
    """Return published weights of the toy shape, random ones."""
    torch.manual_seed(3)
    network = Transformer(SHAPE, GUIDED)
    said = {"shape": asdict(SHAPE), "guided": [asdict(guide) for guide in GUIDED]}
    path = tmp_path / "weights.safetensors"
    metadata = {name: json.dumps(value) for name, value in said.items()}
    checkpoint.save_safetensors(dict(network.named_parameters()), path, metadata=metadata)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a user's file: 200 pairs, Spanish to English."""
    path = tmp_path / "own.tsv"
    lines = [f"{spanish}\t{english}\n" for english, spanish in sentences(200, "es", seed=5)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def main(
    toy: Toy, tmp_path: Path, init: Path, own: Path, monkeypatch: pytest.MonkeyPatch, own_signals: None
) -> Main:
    """Return a way to run the program in this process; it returns the run's folder."""
    runs = toy.fresh_runs(tmp_path / "runs")
    (runs / "packed").unlink()  # a user has none, and nothing is written into the shared one
    monkeypatch.setenv("DRAGOMAN_RUNS", str(runs))
    monkeypatch.setenv("DRAGOMAN_DATA", str(tmp_path / "nowhere"))

    def run(*options: str | Path) -> Path:
        given = [own, "--direction", "es-en", "--init", init, "--held-out", "20", "--threads", "1", *options]
        monkeypatch.setattr(sys, "argv", ["finetune", *map(str, given)])
        finetune.main()
        return runs / "finetuned-own"

    return run


def test_helps_and_shows_it(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    """
    After fine-tuning, the loss on what was held out is lower in both directions, and the table says so.
    """
    run = main("--epochs", "20", *(part for setting in EAGER for part in ("--set", setting)))

    shown, told = capsys.readouterr()
    state = checkpoint.load(run / "checkpoint.pt")
    lines = {
        line.split("│")[1].strip(): [float(cell) for cell in line.split("│")[2:5]]
        for line in shown.splitlines()
        if "into" in line
    }
    assert {f"{s} into {t}" for s in ("loss", "BLEU", "chrF") for t in ("en", "es")} == lines.keys()
    for language in ("en", "es"):
        before, after, change = lines[f"loss into {language}"]
        assert after < 0.9 * before
        assert change == pytest.approx(after - before, abs=0.02)
    assert all(name in shown for name in ("20 pairs held out", "source", "wanted", "before", "after"))
    assert f"models.convert.export --checkpoint {run / 'checkpoint.pt'}" in told
    assert {"finetuned-own.en-es": 1.0} == state["config"]["data"]["weights"]


def test_learns_from_the_first_part_only(main: Main, own: Path, toy: Toy) -> None:
    """
    The last lines are not packed, nor are their pairs where they stand elsewhere; sides are put in their place.
    """
    lines = own.read_text("utf-8").splitlines(keepends=True)
    own.write_text("".join([lines[-1], *lines]), encoding="utf-8")
    held_out = set(lines[-20:])

    run = main("--epochs", "1", "--minutes", "1")

    packed = Packed.open(run.parent / "packed" / "finetuned-own.en-es")
    english, spanish = packed.pair(0)
    first = next(line for line in lines if line not in held_out)
    assert sum(line not in held_out for line in lines) == len(packed)
    assert first == f"{toy.tokenizer.decode(spanish).text}\t{toy.tokenizer.decode(english).text}\n"


def test_guided_heads_are_kept_and_not_taught(main: Main) -> None:
    """
    Pairs without links ask nothing of the guided heads, and the checkpoint still names them for export.
    """
    run = main("--epochs", "1")

    measured = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    state = checkpoint.load(run / "checkpoint.pt")
    assert {0.0} == {line["alignment"] for line in measured if "alignment" in line}
    assert [asdict(guide) for guide in GUIDED] == state["guided"]


def test_what_it_says_to_export_is_a_bundle(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The export that is named at the end needs nothing but what the fine-tuning left.
    """
    run = main("--epochs", "1")
    target = tmp_path / "bundle"
    options = ["--checkpoint", run / "checkpoint.pt", "--bundle", target, "--name", run.name]
    monkeypatch.setattr(sys, "argv", ["export", *map(str, options)])

    export.main()

    assert "finetuned-own" == bundle.load(target).manifest.name


def test_stops_and_goes_on(main: Main) -> None:
    """
    Stopped by the clock it keeps a checkpoint, and the same command ends with the same weights as one go.
    """
    path = main("--epochs", "2") / "checkpoint.pt"
    whole = checkpoint.load(path)
    path.unlink()

    with pytest.raises(SystemExit, match="the same command goes on"):
        main("--epochs", "2", "--minutes", "0")
    main("--epochs", "2")

    stopped = checkpoint.load(path)
    assert whole["tokens"] == stopped["tokens"]
    assert all(torch.equal(value, stopped["average"][name]) for name, value in whole["average"].items())


def test_a_run_is_not_a_mixture(main: Main, own: Path) -> None:
    """
    A run that has a checkpoint is not resumed with another file or other options.
    """
    path = main("--epochs", "1") / "checkpoint.pt"
    before = path.read_bytes()

    with pytest.raises(SystemExit, match="begun with another file"):
        main("--epochs", "2")
    own.write_text(own.read_text("utf-8") + "casa\thouse\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="begun with another file"):
        main("--epochs", "1")

    assert before == path.read_bytes()


@pytest.mark.parametrize("setting", ["training.total_tokens=9", "model.width=64", "data.weights.x=1"])
def test_settings_that_would_be_lost_are_refused(main: Main, setting: str) -> None:
    """
    What follows from the weights and the pairs cannot be set, and is not passed over in silence.
    """
    with pytest.raises(SystemExit, match=setting.partition("=")[0]):
        main("--set", setting)


def test_links_of_other_pairs_are_dropped(main: Main, own: Path) -> None:
    """
    Word links stay beside the pairs they were made of, and go when these change.
    """
    folder = main("--epochs", "1").parent / "packed" / "finetuned-own.en-es"
    pairs = Packed.open(folder)
    save_ragged(folder, "links", [[0, 0]] * len(pairs), np.uint8)

    main("--epochs", "1")
    assert len(pairs) == len(Packed.open(folder).links)

    own.write_text("casa\tthe house\n" + own.read_text("utf-8").partition("\n")[2], encoding="utf-8")
    with pytest.raises(SystemExit, match="begun with another file"):
        main("--epochs", "1")
    (folder.parents[1] / "finetuned-own" / "finetune.json").unlink()
    (folder.parents[1] / "finetuned-own" / "checkpoint.pt").unlink()
    main("--epochs", "1")
    assert Packed.open(folder).links_offsets is None


def test_mixes_general_text_in(main: Main, toy: Toy) -> None:
    """
    With `--mix`, a share of the tokens comes from the packed corpora of the configuration.
    """
    (run := main("--epochs", "1", "--minutes", "1")).exists()
    packed = run.parent / "packed"
    (packed / "toy.en-fr").symlink_to(toy.packed / "toy.en-fr")

    main("--epochs", "1", "--run", "mixed", "--mix", "0.25", "--set", 'data.weights={"toy.en-fr" = 8.0}')

    state = checkpoint.load(run.parent / "mixed" / "checkpoint.pt")
    alone = checkpoint.load(run / "checkpoint.pt")
    assert {"mixed.en-es": 0.75, "toy.en-fr": 0.25} == state["config"]["data"]["weights"]
    assert state["config"]["training"]["total_tokens"] == pytest.approx(
        alone["config"]["training"]["total_tokens"] / 0.75, abs=1
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"casa house\n", "line 1: 0 tabs"),
        (b"casa\thouse\ncasa\thouse\tCH\n", "line 2: 2 tabs"),
        (b"casa\thouse\ncasa\xff\thouse\n", r"line 2: not UTF-8 \(byte 5\)"),
        (b"casa\thouse\n\n\thouse\n", "line 2: 0 tabs.*; line 3: a side is empty"),
        (b"casa\n" * 9, "line 5: 0 tabs.*; and 4 more"),
        (b"", "line 1: 0 tabs"),
        (None, "No such file"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    """
    Every line that is no pair is named by its number, in one message, at most five of them.
    """
    path = tmp_path / "own.tsv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=said):
        read_tsv(path)


def test_reads_what_editors_write(tmp_path: Path) -> None:
    """
    A byte-order mark, Windows line ends and a missing last line end are no part of the text.
    """
    path = tmp_path / "own.tsv"
    path.write_bytes("\ufeffcasa\thouse\r\nárbol\ttree".encode())

    assert [("casa", "house"), ("árbol", "tree")] == read_tsv(path)


@pytest.mark.parametrize("held_out", [-1, 0, 3, 4, 2])
def test_both_parts_need_pairs(held_out: int) -> None:
    """
    There must be something to hold out and something else to learn from.
    """
    pairs = [("a", "A"), ("b", "B"), ("a", "A")]

    with pytest.raises(DataError, match=r"own\.tsv"):
        split(pairs if held_out != 2 else [("a", "A")] * 3, held_out, Path("own.tsv"))


def test_missing_weights_are_explained(main: Main, tmp_path: Path) -> None:
    """
    One line says which file is missing.
    """
    missing = tmp_path / "tiny.safetensors"

    with pytest.raises(SystemExit, match=r"^error: .*tiny\.safetensors: No such file or directory$"):
        main("--init", missing)


def test_starts_from_what_serves(main: Main, init: Path, toy: Toy, tmp_path: Path) -> None:
    """
    A bundle does as well as a file of weights, and the run is bound to it, whatever it had learnt before.
    """
    runs = toy.fresh_runs(tmp_path / "exporting")
    said = checkpoint.described(init)
    weights = checkpoint.load_average(init)
    config = {"data": {"weights": {"toy.en-fr": 1.0}, "max_tokens": 40, "seed": 1}, "guided": said["guided"]}
    numbers = dict.fromkeys(("position", "tokens", "updates", "seconds", "warmed_from"), 10**9)
    state = said | numbers | {"weights": weights, "average": weights, "optimisers": [], "config": config}
    served = tmp_path / "bundle"
    export.export(
        state, runs / "tokenizer.model", served,
        precision="fp32", name="toy", version="1", threshold=0.5,
    )  # fmt: skip

    run = main("--init", served, "--epochs", "1")

    begun = json.loads((run / "finetune.json").read_text())
    assert bundle.sha256(served / bundle.MANIFEST) == begun["init"]
    learnt = checkpoint.load(run / "checkpoint.pt")
    assert asdict(SHAPE) == learnt["shape"]
    assert 0 < learnt["tokens"] < 10**9
    assert not torch.equal(weights["decoder_norm.weight"], learnt["weights"]["decoder_norm.weight"])


def test_the_default_is_what_a_checkout_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Published weights are preferred, being less rounded; without them the default bundle is there.
    """
    path = tmp_path / "tiny.safetensors"
    monkeypatch.setattr(finetune, "PUBLISHED", path)
    assert finetune.SERVED == finetune.published()

    path.touch()

    assert path == finetune.published()


@pytest.mark.parametrize("content", [b"", b"\x02\0\0\0\0\0\0\0{}"])
def test_weights_must_say_what_they_are(main: Main, init: Path, content: bytes) -> None:
    """
    A file that is not safetensors, or says nothing of its network, is refused in one line.
    """
    init.write_bytes(content)

    with pytest.raises(SystemExit, match=r"error: .*weights\.safetensors: no weights that say"):
        main()


def test_the_published_tokenizer_is_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: Path, toy: Toy
) -> None:
    """
    Who has no tokenizer gets that of the default bundle; another one is not used with the published weights.
    """
    monkeypatch.setenv("DRAGOMAN_RUNS", str(tmp_path / "runs"))

    opened = finetune.shared_tokenizer(PUBLISHED)

    path = tmp_path / "runs" / "tokenizer.model"
    assert (finetune.SERVED / bundle.TOKENIZER).read_bytes() == path.read_bytes()
    assert {"en", "es", "fr"} == opened.languages.keys()
    path.write_bytes((toy.runs / "tokenizer.model").read_bytes())
    finetune.shared_tokenizer(init)
    for origin in (PUBLISHED, finetune.SERVED):
        with pytest.raises(CheckpointError, match="know the pieces of another tokenizer"):
            finetune.shared_tokenizer(origin)
