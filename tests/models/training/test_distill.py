"""Distillation: what is translated, in which form it is kept, and that no line is lost or doubled."""

from __future__ import annotations

import json
import lzma
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from dragoman.config import DEFAULT_BUNDLE
from models.corpora.packing import DataError, read_pairs, shards
from models.training import distill
from models.training.distill import Job, Teacher, jobs
from tests.models.killed import killed_when_it_saves

ROOT = Path(__file__).parents[3]
PLACES = ["house", "garden", "bridge", "school", "village", "hotel", "station", "market", "church", "river"]
PAIRS = [
    (f"The {place} is {what}.", f"Où est le mot {place} ?")
    for what in ("big", "old", "here")
    for place in PLACES
]


def write_shard(path: Path, pairs: list[tuple[str, str]]) -> Path:
    """Write pairs as training data comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress("".join(f"{a}\t{b}\n" for a, b in pairs).encode(), preset=0))
    return path


@pytest.fixture(scope="module")
def teacher() -> Iterator[Teacher]:
    """Return the default bundle as a teacher, greedy."""
    opened = Teacher(DEFAULT_BUNDLE, beam_size=1)
    yield opened
    opened.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder with one small shard of two corpora."""
    write_shard(tmp_path / "data" / "train" / "toy.en-fr.00.tsv.xz", PAIRS)
    write_shard(tmp_path / "data" / "train" / "other.en-es.00.tsv.xz", [("Good morning.", "Buenos días.")])
    return tmp_path / "data"


@pytest.fixture
def job(data: Path, tmp_path: Path) -> Job:
    """Return the job of writing French."""
    return jobs(data / "train", tmp_path / "out", ["toy.en-fr"], ["fr"])[0]


def do(teacher: Teacher, job: Job, lot: int = 8) -> list[tuple[str, str]]:
    """Do one job and return the pairs of its shard."""
    with Progress(console=Console(quiet=True)) as progress:
        distill.distill(teacher, job, None, lot, progress)
    return list(read_pairs(job.result))


def command(
    data: Path, *options: str | Path, program: tuple[str, str] = ("-m", "models.training.distill")
) -> subprocess.Popen[str]:
    """Start the program on the default bundle."""
    return subprocess.Popen(
        [sys.executable, *program, str(DEFAULT_BUNDLE), *map(str, options)],
        cwd=ROOT, text=True, stderr=subprocess.PIPE, env=os.environ | {"DRAGOMAN_DATA": str(data)},
    )  # fmt: skip


def test_both_directions_of_every_corpus(data: Path, tmp_path: Path) -> None:
    """
    Each shard is done into both of its languages; a corpus that came from here is not done again.
    """
    write_shard(data / "train" / "toy-to-fr.en-fr.00.tsv.xz", PAIRS)

    found = jobs(data / "train", tmp_path, [], ["en", "es", "fr"])

    names = ["other-to-es.en-es.00", "other-to-en.en-es.00", "toy-to-fr.en-fr.00", "toy-to-en.en-fr.00"]
    assert names == [job.name for job in found]
    assert ["toy-to-en.en-fr.00"] == [j.name for j in jobs(data / "train", tmp_path, ["toy.en-fr"], ["en"])]
    with pytest.raises(DataError, match="no shard of nothing"):
        jobs(data / "train", tmp_path, ["nothing.en-fr"], ["en"])


def test_training_reads_what_it_writes(teacher: Teacher, data: Path, tmp_path: Path) -> None:
    """
    The shard has the corpus form: English first, whichever side the model wrote, in the order of the source.
    """
    into_french, into_english = jobs(data / "train", tmp_path / "out", ["toy.en-fr"], ["en", "fr"])

    french, english = do(teacher, into_french), do(teacher, into_english)

    originals = [pair[0] for pair in PAIRS], [pair[1] for pair in PAIRS]
    assert [first for first, _ in french] == [text for text in originals[0] if text in dict(french)]
    assert [second for _, second in english] == [t for t in originals[1] if t in {o for _, o in english}]
    assert len(french) > 20
    assert any("maison" in second for _, second in french)
    assert all(first and second for first, second in french + english)
    assert {"toy-to-fr.en-fr", "toy-to-en.en-fr"} == shards(tmp_path / "out").keys()


def test_what_does_not_end_is_left_out(teacher: Teacher, data: Path, job: Job) -> None:
    """
    Empty and very long sources give no pair, and their neighbours keep their places.
    """
    write_shard(
        data / "train" / "toy.en-fr.00.tsv.xz", [("", "rien"), PAIRS[0], ("big " * 200, "x"), PAIRS[1]]
    )

    found = do(teacher, job)

    assert [PAIRS[0][0], PAIRS[1][0]] == [english for english, _ in found]


@pytest.mark.parametrize("torn", [0, 1, 7])
def test_goes_on_behind_the_last_whole_line(teacher: Teacher, job: Job, tmp_path: Path, torn: int) -> None:
    """
    Whole lines are kept as they are, a torn one is written anew; the end is as if never interrupted.
    """
    whole = do(teacher, job)
    job.result.unlink()
    lines = [f"{english}\t{french}\n" for english, french in whole[:5]]
    lines[2] = f"{whole[2][0]}\tkept as it was\n"
    part = job.result.with_name(f"{job.result.name}.part")
    content = "".join(lines).encode()
    part.write_bytes(content[: len(content) - torn])

    found = do(teacher, job)

    assert [*whole[:2], (whole[2][0], "kept as it was"), *whole[3:]] == found
    assert not part.exists()


def test_lines_of_something_else_are_refused(teacher: Teacher, job: Job) -> None:
    """
    What was begun on another source is not continued.
    """
    job.result.parent.mkdir()
    part = job.result.with_name(f"{job.result.name}.part")
    part.write_text("Something else\tautre chose\n", encoding="utf-8")

    with pytest.raises(DataError, match="not made from"):
        do(teacher, job)


def test_two_processes_do_not_share_a_shard(teacher: Teacher, job: Job) -> None:
    """
    A shard that another process writes is left to it.
    """
    job.result.parent.mkdir()
    part = job.result.with_name(f"{job.result.name}.part")

    with part.open("ab") as file:
        distill._lock(file, part)
        with pytest.raises(DataError, match="another process"):
            do(teacher, job)


def test_a_folder_has_one_teacher(teacher: Teacher, tmp_path: Path) -> None:
    """
    A folder that was begun with other options is refused, and so is its teacher replaced.
    """
    distill.begin(tmp_path, teacher, None)
    distill.begin(tmp_path, teacher, None)

    with pytest.raises(DataError, match="take another folder"):
        distill.begin(tmp_path, teacher, 7)

    assert 1 == json.loads((tmp_path / "distill.json").read_bytes())["beam_size"]


def test_killed_and_resumed(teacher: Teacher, data: Path, job: Job, tmp_path: Path) -> None:
    """
    Killed with SIGKILL in the middle of a shard, the program ends with what an uninterrupted one writes.
    """
    whole = do(teacher, job)
    folder = tmp_path / "killed"
    options: list[str | Path] = [
        folder,
        "--corpora",
        "toy.en-fr",
        "--into",
        "fr",
        "--beam",
        "1",
        "--lot",
        "1",
    ]
    part = folder / f"{job.result.name}.part"

    killed = command(data, *options, program=("-c", killed_when_it_saves("models.training.distill", 3)))
    killed.communicate(timeout=100)
    begun = part.read_bytes().count(b"\n")
    resumed = command(data, *options)
    told = resumed.communicate(timeout=100)[1]

    assert (3, -signal.SIGKILL) == (begun, killed.returncode)
    assert 0 == resumed.returncode, told
    assert whole == list(read_pairs(folder / job.result.name))
    assert not part.exists()


@pytest.mark.parametrize(
    "wrong", [("--lot", "0"), ("--lot", "-1"), ("--max-lines", "0"), ("--max-lines", "-5")]
)
def test_sizes_that_would_lose_lines(
    wrong: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    A lot of nothing would pass every line over, and leave a shard that looks done.
    """
    monkeypatch.setattr(sys, "argv", ["distill", str(DEFAULT_BUNDLE), str(tmp_path / "out"), *wrong])

    with pytest.raises(SystemExit) as refused:
        distill.main()

    assert 2 == refused.value.code
    assert "1 or more" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_errors_are_one_line(data: Path, tmp_path: Path) -> None:
    """
    A corpus that is not there is said in one line.
    """
    process = command(data, tmp_path / "out", "--corpora", "nothing.en-fr")

    told = process.communicate(timeout=100)[1]

    assert (1, f"error: {data / 'train'}: no shard of nothing.en-fr\n") == (process.returncode, told)
