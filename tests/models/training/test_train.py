"""A whole training on a toy world: it learns, stops, survives, goes on exactly, and says what is wrong."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from models.convert import export
from models.corpora import tokenizer
from models.corpora.batches import Batches
from models.corpora.packing import DataError
from models.network.transformer import losses
from models.training import checkpoint, settings, train
from models.training.trainer import Trainer, Worker
from tests.models.killed import killed_when_it_saves
from tests.models.toy import CONFIG, ROOT, VOCABULARY, WORDS, Toy, environment, run_module

Main = Callable[..., Path]
PROGRAM = ("-m", "models.training.train")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the toy configuration as a file."""
    path = tmp_path / "toy.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def main(toy: Toy, tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, own_signals: None) -> Main:
    """Return a way to run the program in this process; it returns the run's folder."""

    def run(*options: str | Path, name: str = "toy") -> Path:
        runs = tmp_path / "runs"
        if not runs.exists():
            toy.fresh_runs(runs)
        monkeypatch.setenv("DRAGOMAN_DATA", str(toy.data))
        monkeypatch.setenv("DRAGOMAN_RUNS", str(runs))
        arguments = ["train", str(config), "--threads", "1", "--run", name, *map(str, options)]
        monkeypatch.setattr(sys, "argv", arguments)
        train.main()
        return runs / name

    return run


def command(config: Path, *options: str, program: Sequence[str] = PROGRAM) -> list[str]:
    """Return the command line of a training in a process of its own."""
    return [sys.executable, *program, str(config), "--threads", "1", *options]


def start(
    toy: Toy, runs: Path, config: Path, *options: str, program: Sequence[str] = PROGRAM
) -> subprocess.Popen[str]:
    """Start a training in a process of its own."""
    environ = environment({"DRAGOMAN_DATA": toy.data, "DRAGOMAN_RUNS": runs})
    return subprocess.Popen(
        command(config, *options, program=program), cwd=ROOT, env=environ, text=True, stderr=subprocess.PIPE
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file appears; a process that ends before is a failure."""
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics file."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two checkpoints hold the same numbers, bit for bit, but for the time they took."""
    for key in ("position", "tokens", "updates"):
        assert one[key] == other[key]
    for key in ("weights", "average"):
        assert all(torch.equal(value, other[key][name]) for name, value in one[key].items())
    for left, right in zip(one["optimisers"], other["optimisers"], strict=True):
        for index, moments in left["state"].items():
            assert all(torch.equal(value, right["state"][index][name]) for name, value in moments.items())


@pytest.mark.timeout(700)  # two processes import torch
def test_killed_and_resumed_is_as_if_never_stopped(
    toy: Toy, tmp_path: Path, config: Path, main: Main
) -> None:
    """
    A training killed with SIGKILL in the middle ends with the very weights of one that was not.
    """
    whole = checkpoint.load(main(name="whole") / "checkpoint.pt")
    runs = toy.fresh_runs(tmp_path / "killed")
    path = runs / "toy" / "checkpoint.pt"

    process = start(toy, runs, config, program=("-c", killed_when_it_saves("models.training.train", 6)))
    process.communicate(timeout=300)
    stopped = checkpoint.load(path)
    resumed = start(toy, runs, config)
    _, errors = resumed.communicate(timeout=300)

    assert 0 == resumed.returncode, errors
    assert -signal.SIGKILL == process.returncode
    assert 0 < stopped["updates"] < whole["updates"]
    assert_same(whole, checkpoint.load(path))


def test_asked_to_stop_saves_and_leaves(toy: Toy, tmp_path: Path, config: Path) -> None:
    """
    SIGTERM ends a training after the update it is at, with a checkpoint and exit code 0, though it come twice.
    """
    config.write_text(CONFIG.replace("minutes_between_checkpoints = 0", "minutes_between_checkpoints = 60"))
    runs = toy.fresh_runs(tmp_path / "runs")
    without_end = ("training.total_tokens=1_000_000_000", "training.minutes_between_evaluations=0")
    process = start(toy, runs, config, *(part for setting in without_end for part in ("--set", setting)))
    wait_for(runs / "toy" / "metrics.jsonl", process)  # it has made an update

    process.send_signal(signal.SIGTERM)
    time.sleep(0.01)
    process.send_signal(signal.SIGTERM)  # as `torchrun` does, which hands on what the whole group was sent
    _, errors = process.communicate(timeout=100)

    assert 0 == process.returncode, errors
    assert 0 < checkpoint.load(runs / "toy" / "checkpoint.pt")["updates"]
    assert "Traceback" not in errors


def test_asked_again_later_it_leaves_at_once(monkeypatch: pytest.MonkeyPatch, own_signals: None) -> None:
    """
    A second signal within seconds is the echo of the first; after that it ends the process.
    """
    monkeypatch.setattr(
        signal, "SIG_DFL", signal.default_int_handler
    )  # raises, where the real one would end the tests
    stop = train.Stop(math.inf)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    assert stop

    monkeypatch.setattr(train.Stop, "ECHO_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_time_given_is_kept_and_used_again(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    `--minutes` stops with a checkpoint; several calls make the training that one would have made.
    """
    looks = itertools.count(0.0, 0.02)  # each look at the clock takes so long
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: next(looks)))
    whole = checkpoint.load(main(name="whole") / "checkpoint.pt")

    calls = 0
    tokens = -1
    while tokens < 20_000:
        run = main("--minutes", "0.01", name="parts")
        calls += 1
        assert tokens < checkpoint.load(run / "checkpoint.pt")["tokens"] or calls == 1
        tokens = checkpoint.load(run / "checkpoint.pt")["tokens"]

    assert calls > 1
    assert_same(whole, checkpoint.load(run / "checkpoint.pt"))


def test_it_learns(main: Main) -> None:
    """
    The toy language is learnt: the entropy of unseen sentences falls far below that of a guess.
    """
    run = main("--set", "training.total_tokens=120_000", "--set", "training.minutes_between_checkpoints=60")

    learning, last = metrics(run)[-2:]
    assert learning["loss"] < 0.7 * math.log(416)
    assert last["entropy"] < 0.7 * math.log(90)
    assert {"bleu_en_fr", "chrf_es_en", "entropy_fr_en"} <= last.keys()


def test_a_start_from_weights_warms_up(main: Main, tmp_path: Path) -> None:
    """
    `--init` takes the averaged weights of a checkpoint, or a file in half precision, and warms up anew.
    """
    first = checkpoint.load(main() / "checkpoint.pt")
    half = tmp_path / "weights.safetensors"
    checkpoint.save_safetensors(first["average"], half)

    for name, origin in (("full", tmp_path / "runs" / "toy" / "checkpoint.pt"), ("half", half)):
        run = main(
            "--init", origin, "--minutes", "0", "--set", "training.minutes_between_checkpoints=60", name=name
        )
        state = checkpoint.load(run / "checkpoint.pt")
        assert (0, 0, 0) == (state["updates"], state["tokens"], state["position"])
        for key in ("weights", "average"):
            for weight, value in first["average"].items():
                expected = value.half().float() if name == "half" else value
                assert torch.equal(expected, state[key][weight])

    trainer = Trainer(settings.read(tmp_path / "toy.toml"), Worker("fp32"), "")
    assert 0.1 == pytest.approx(trainer.rate())


def test_a_start_from_published_weights_goes_on_counting(main: Main, tmp_path: Path) -> None:
    """
    Weights that were published say how far they had come, and a training goes on from there, with a warm-up.
    """
    path = tmp_path / "runs" / "toy" / "checkpoint.pt"
    first = checkpoint.load(main() / "checkpoint.pt")
    published = tmp_path / "weights.safetensors"
    facts = {name: json.dumps(first[name]) for name in (*checkpoint.DESCRIPTION, *checkpoint.FACTS)}
    checkpoint.save_safetensors(checkpoint.load_average(path), published, metadata=facts)

    run = main("--init", published, "--minutes", "0", name="next")

    state = checkpoint.load(run / "checkpoint.pt")
    for name in ("tokens", "updates", "seconds"):
        assert first[name] == state[name]
    assert first["updates"] == state["warmed_from"]


def test_a_start_from_a_bundle_goes_on_counting(main: Main, tmp_path: Path, toy: Toy) -> None:
    """
    Who has lost the checkpoints goes on from the bundle: its weights, its tokens and hours, and a warm-up.
    """
    first = checkpoint.load(main() / "checkpoint.pt")
    served = tmp_path / "bundle"
    export.export(
        first, toy.runs / "tokenizer.model", served,
        precision="fp32", name="toy", version="1", threshold=0.5,
    )  # fmt: skip

    run = main("--init", served, "--minutes", "0", name="next")

    state = checkpoint.load(run / "checkpoint.pt")
    assert (first["updates"], first["tokens"]) == (state["updates"], state["tokens"])
    assert first["seconds"] == pytest.approx(state["seconds"], abs=36)  # a manifest has hundredths of hours
    assert state["updates"] == state["warmed_from"]
    for weight, value in first["average"].items():
        assert torch.allclose(value, state["weights"][weight], rtol=1e-6)


def test_weights_keep_their_tokenizer(main: Main, tmp_path: Path, toy: Toy) -> None:
    """
    Neither a checkpoint nor a bundle nor published weights go on with a tokenizer of as many, but other, pieces.
    """
    state = checkpoint.load(main("--minutes", "0") / "checkpoint.pt")
    served, path = tmp_path / "bundle", tmp_path / "runs" / "tokenizer.model"
    export.export(state, path, served, precision="fp32", name="toy", version="1", threshold=0.5)
    (tmp_path / "runs" / "packed").unlink()
    shutil.copytree(toy.packed, tmp_path / "runs" / "packed")
    path.unlink()
    backwards = [word[::-1] for words in WORDS.values() for word in words.split()]
    path.write_bytes(tokenizer.train(backwards * 9, VOCABULARY, threads=1))

    with pytest.raises(SystemExit, match="trained with another tokenizer"):
        main()
    published = tmp_path / "weights.safetensors"
    checkpoint.save_safetensors(
        state["average"], published, metadata={"tokenizer": json.dumps(state["tokenizer"])}
    )
    for init in (served, published):
        with pytest.raises(SystemExit, match="know the pieces of another tokenizer"):
            main("--init", init, name="next")
    with pytest.raises(DataError, match="trained with another tokenizer"):
        export.export(state, path, served, precision="fp32", name="toy", version="2", threshold=0.5)


def test_rates_rise_stay_and_fall(config: Path) -> None:
    """
    The rate rises over the warm-up, stays, and falls to zero over the last part of the tokens.
    """
    trainer = Trainer(settings.read(config), Worker("fp32"), "")
    found = []
    for updates, tokens in (
        (0, 0),
        (4, 100),
        (9, 1000),
        (50, 16_000),
        (60, 18_000),
        (70, 20_000),
        (80, 21_000),
    ):
        trainer.updates, trainer.tokens = updates, tokens
        found.append(trainer.rate())

    assert [0.1, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0] == pytest.approx(found)


def test_several_batches_are_one_update(toy: Toy, config: Path) -> None:
    """
    Gradients of several batches add up to those of all their tokens: unequal sizes do not weigh more.
    """
    settings_ = settings.read(config)
    batches = Batches(
        toy.packed, toy.tokenizer, settings_.data.weights, batch_tokens=300, max_tokens=40, seed=1
    )
    plans = [next(batches.plans(position)) for position in (0, 1)]
    merged = (2, batches.collate([pair for _, plan in plans for pair in plan]))
    apart = [(position, batches.collate(plan)) for position, plan in plans]

    found = []
    for given in (apart, [merged]):
        trainer = Trainer(settings_, Worker("fp32"), "")
        measured = trainer.update(given, losses)
        found.append((measured, trainer.tokens, trainer.network.state_dict()))

    assert found[0][1] == found[1][1]
    assert found[0][0]["loss"] == pytest.approx(found[1][0]["loss"], rel=1e-5)
    for name, value in found[0][2].items():
        assert torch.allclose(value, found[1][2][name], atol=1.1e-3), name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "training.totl_tokens=3"], "no such setting"),
        (["--set", "model.vocabulary=500"], "416 pieces, the network is to know 500"),
        (["--set", 'data.weights={"nothing.en-fr" = 1.0}'], "nothing.en-fr: no packed corpus"),
        (["--init", "nowhere.pt"], "nowhere.pt: No such file"),
        (["--init", "nowhere.safetensors"], "nowhere.safetensors: No such file"),
    ],
)
def test_errors_are_one_clear_line(main: Main, options: list[str], said: str) -> None:
    """
    What cannot be trained is said in one line that names it.
    """
    with pytest.raises(SystemExit) as caught:
        main(*options)

    message = str(caught.value.code)
    assert message.startswith("error: ")
    assert said in message
    assert "\n" not in message


def test_a_bad_path_is_no_traceback(toy: Toy, tmp_path: Path) -> None:
    """
    The program itself: a configuration that is not there gives one line and exit code 1.
    """
    result = run_module("models.training.train", "nowhere.toml", environ={"DRAGOMAN_RUNS": tmp_path})

    assert (1, "error: nowhere.toml: No such file or directory\n") == (result.returncode, result.stderr)


def test_a_checkpoint_of_another_shape_is_kept(main: Main) -> None:
    """
    Resuming with another shape is refused, and so are initial weights of another; the checkpoint stays.
    """
    path = main("--minutes", "0") / "checkpoint.pt"
    before = path.read_bytes()

    for options in (
        ["--set", "model.width=64"],
        ["--set", "model.width=64", "--init", path, "--run", "other"],
    ):
        with pytest.raises(SystemExit, match="shape"):
            main(*options)

    assert before == path.read_bytes()


def test_a_corrupt_checkpoint_is_not_overwritten(main: Main) -> None:
    """
    A checkpoint that cannot be read stops the training before anything is lost.
    """
    path = main("--minutes", "0") / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(SystemExit, match=r"checkpoint\.pt: truncated"):
        main()

    assert 1000 == path.stat().st_size


def test_a_loss_that_explodes_ends_the_training(main: Main) -> None:
    """
    A loss that is no number ends the training with advice, and no such checkpoint is written.
    """
    run = main("--minutes", "0")
    good = checkpoint.load(run / "checkpoint.pt")
    good["weights"]["embedding.weight"].fill_(math.nan)
    checkpoint.save(good, run / "checkpoint.pt")
    before = (run / "checkpoint.pt").read_bytes()

    with pytest.raises(SystemExit, match="lower the rates"):
        main()

    assert before == (run / "checkpoint.pt").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_two_processes_train_as_one(toy: Toy, tmp_path: Path, config: Path, main: Main) -> None:
    """
    Under `torchrun`, two processes make the updates of one that takes two batches each time.
    """
    options = ["--set", "training.update_tokens=[[0, 1200]]", "--set", "training.total_tokens=8000"]
    alone = checkpoint.load(main(*options, name="alone") / "checkpoint.pt")
    runs = toy.fresh_runs(tmp_path / "two")
    environ = environment({"DRAGOMAN_DATA": toy.data, "DRAGOMAN_RUNS": runs, "OMP_NUM_THREADS": "1"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        subprocess.Popen(
            command(config, *options), cwd=ROOT, text=True, stderr=subprocess.PIPE,
            env=environ | {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        )
        for rank in range(2)
    ]  # fmt: skip

    errors = [rank.communicate(timeout=300)[1] for rank in ranks]

    assert [0, 0] == [rank.returncode for rank in ranks], errors
    together = checkpoint.load(runs / "toy" / "checkpoint.pt")
    assert alone["tokens"] == together["tokens"]
    assert alone["position"] == together["position"]
    for name, value in alone["weights"].items():
        assert torch.allclose(value, together["weights"][name], atol=1e-2), name
    assert os.environ.get("RANK") is None
