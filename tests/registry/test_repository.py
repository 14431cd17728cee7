"""What a directory offers: whole bundles are taken, others are refused, and what serves goes on."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dragoman import bundle
from dragoman.bundle import MANIFEST, WEIGHTS, Bundle
from dragoman.config import Settings
from dragoman.errors import BundleError, ConfigError
from dragoman.registry import repository
from dragoman.registry.model_registry import LoadedModel
from dragoman.registry.repository import ScanResult, bundle_folders, inputs_fingerprint
from tests.bundles import write_hollow
from tests.registry.conftest import Load

Find = Callable[..., ScanResult]


@pytest.fixture
def scan(tmp_path: Path, load: Load) -> Find:
    """Return a look into the test's directory, with some settings and what is loaded."""

    def look(present: list[LoadedModel] | None = None, load: Load = load, **settings: object) -> ScanResult:
        return repository.scan(Settings(bundle=tmp_path, **settings), present or [], load)  # type: ignore[arg-type]

    return look


def names(found: ScanResult) -> list[str]:
    """Return what would serve."""
    return [model.full_name for model in found.models]


class TestFolders:
    def test_a_bundle_is_itself(self, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        A directory with a manifest is the only bundle, whatever else is in it.
        """
        write_hollow(tmp_path, default_bundle, "a@1")
        write_hollow(tmp_path / "inside", default_bundle, "a@2")

        assert [tmp_path] == bundle_folders(tmp_path)

    def test_subdirectories(self, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        Otherwise each subdirectory with a manifest is one; hidden ones, other ones and files are passed over.
        """
        for name in ("two", "one", "..2024", ".new"):
            write_hollow(tmp_path / name, default_bundle, "a@1")
        (tmp_path / "lost+found").mkdir()
        (tmp_path / "notes.txt").write_text("no bundle")
        (tmp_path / "link").symlink_to("..2024")

        assert [tmp_path / name for name in ("link", "one", "two")] == bundle_folders(tmp_path)

    @pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
    def test_nothing(self, tmp_path: Path, name: str) -> None:
        """
        Where there is no bundle, the directory itself is returned: checking it says what is wrong.
        """
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("")

        assert [tmp_path / name] == bundle_folders(tmp_path / name)


class TestFind:
    def test_newest(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        Of what a directory offers, as many of the newest versions are loaded as are to be kept.
        """
        for version in ("1", "2", "10"):
            write_hollow(tmp_path / version, default_bundle, f"a@{version}")

        assert ["a@10"] == names(scan())
        assert ["a@10", "a@2"] == names(scan(keep_versions=2))

    def test_present_models_are_kept(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        What is loaded is not loaded again, also if its directory has another name now.
        """
        write_hollow(tmp_path / "one", default_bundle, "a@1")
        present = scan().models
        (tmp_path / "one").rename(tmp_path / "uno")

        assert present == scan(present).models

    def test_other_content(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        The same version with other content is another model.
        """
        write_hollow(tmp_path, default_bundle, "a@1")
        [old] = scan().models
        write_hollow(tmp_path, default_bundle, "a@1", "changed")

        [new] = scan([old]).models

        assert old is not new
        assert old.full_name == new.full_name

    def test_spoilt_version_is_refused(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        A version that is not whole is refused in one line, and taken when it is.
        """
        write_hollow(tmp_path / "1", default_bundle, "a@1")
        present = scan().models
        weights = write_hollow(tmp_path / "2", default_bundle, "a@2") / WEIGHTS
        content = weights.read_bytes()
        weights.write_bytes(content[:-1])

        spoilt = scan(present)

        assert present == spoilt.models
        [error] = spoilt.refused
        assert f"bundle {tmp_path / '2'}: weights.bin is truncated or altered" in str(error)
        weights.write_bytes(content)
        assert ["a@2"] == names(scan(present))

    def test_beyond_the_limits(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        A bundle with a file that is too large, or that nobody ever writes, is refused as it is, and what serves goes on.
        """
        write_hollow(tmp_path / "1", default_bundle, "a@1")
        present = scan().models
        large, endless = (
            write_hollow(tmp_path / version, default_bundle, f"a@{version}") for version in "23"
        )
        os.truncate(large / WEIGHTS, 2**20)
        bundle.write_manifest(large, bundle.load(large.parent / "1").manifest)
        (endless / WEIGHTS).unlink()
        os.mkfifo(endless / WEIGHTS)

        found = scan(present, max_bundle_file_bytes=10_000)

        assert present == found.models
        said = sorted(map(str, found.refused))
        assert "weights.bin: 1,048,576 bytes, the limit is 10,000" in said[0]
        assert "weights.bin: not a regular file" in said[1]

    def test_spoilt_in_place(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        What was loaded goes on although its directory is spoilt, and no older version takes its place.
        """
        write_hollow(tmp_path / "1", default_bundle, "a@1")
        write_hollow(tmp_path / "2", default_bundle, "a@2")
        present = scan().models
        (tmp_path / "2" / WEIGHTS).unlink()

        found = scan(present)

        assert present == found.models
        assert 1 == len(found.refused)

    def test_removed(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        A version whose directory is gone makes way for the next older one; the last of all does not.
        """
        for version in ("1", "2"):
            write_hollow(tmp_path / version, default_bundle, f"a@{version}")
        present = scan().models
        shutil.rmtree(tmp_path / "2")

        older = scan(present)

        assert ["a@1"] == names(older)
        shutil.rmtree(tmp_path / "1")
        nothing = scan(older.models)
        assert ([], 1) == (nothing.models, len(nothing.refused))

    def test_cannot_be_loaded(self, scan: Find, tmp_path: Path, default_bundle: Bundle, load: Load) -> None:
        """
        A whole bundle that cannot run, for whatever reason, is refused; the newest that can run serves.
        """
        for version in ("1", "2", "3"):
            write_hollow(tmp_path / version, default_bundle, f"a@{version}")

        def choosy(candidate: Bundle) -> LoadedModel:
            if candidate.manifest.version == "3":
                raise MemoryError("no room\nfor this one")
            return load(candidate)

        found = scan(load=choosy, keep_versions=2)

        assert ["a@2", "a@1"] == names(found)
        assert [f"bundle {tmp_path / '3'}: cannot be loaded: no room"] == [str(e) for e in found.refused]

    def test_changed_while_it_was_loaded(
        self, scan: Find, tmp_path: Path, default_bundle: Bundle, load: Load
    ) -> None:
        """
        What was loaded must be what was checked: a bundle that is written to meanwhile is refused, and closed.
        """
        write_hollow(tmp_path, default_bundle, "a@1")
        loaded: list[LoadedModel] = []

        def disturbed(candidate: Bundle) -> LoadedModel:
            (tmp_path / WEIGHTS).write_text("another weight")
            loaded.append(load(candidate))
            return loaded[0]

        found = scan(load=disturbed)

        assert ([], "changed while it was loaded") == (found.models, str(found.refused[0])[-27:])
        assert [] == loaded[0].pool.workers

    def test_two_of_one_version(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        A copy in another directory is the same model; other content under the same version is refused.
        """
        for name in ("a", "b"):
            write_hollow(tmp_path / name, default_bundle, "a@1")
        write_hollow(tmp_path / "c", default_bundle, "a@1", "changed")

        found = scan(keep_versions=9)

        assert ["a@1"] == names(found)
        [error] = found.refused
        assert isinstance(error, BundleError)
        assert str(error) == f"bundle {tmp_path / 'c'}: a@1 is another model in {tmp_path / 'a'}"

    def test_second_name_needs_a_default(self, scan: Find, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        A second name is not served before somebody has said which name is the default; nothing changes till then.
        """
        write_hollow(tmp_path / "a", default_bundle, "a@1")
        present = scan().models
        write_hollow(tmp_path / "b", default_bundle, "b@1")

        ambiguous = scan(present)

        assert [] == ambiguous.models
        assert isinstance(ambiguous.refused[0], ConfigError)
        assert ["a@1", "b@1"] == names(scan(present, default_model="a"))


class TestWatched:
    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: (folder / WEIGHTS).write_text("another weight"),
            lambda folder: os.utime(folder / MANIFEST, (1, 1)),
            lambda folder: (folder / "new").write_text(""),
            lambda folder: (folder / WEIGHTS).unlink(),
            lambda folder: shutil.rmtree(folder),
            lambda folder: folder.rename(folder.with_name("renamed")),
        ],
        ids=["written", "touched", "added", "removed", "gone", "renamed"],
    )
    def test_sees(self, tmp_path: Path, default_bundle: Bundle, change: Callable[[Path], object]) -> None:
        """
        Whatever happens to a file of a bundle is seen; and nothing is where nothing happens.
        """
        folder = write_hollow(tmp_path / "models" / "one", default_bundle, "a@1")
        settings = Settings(bundle=folder.parent)
        before = inputs_fingerprint(settings)
        assert before == inputs_fingerprint(settings)

        change(folder)

        assert before != inputs_fingerprint(settings)

    def test_sees_a_link_turn(self, tmp_path: Path, default_bundle: Bundle) -> None:
        """
        A link that leads to another directory is a change, as Kubernetes makes them; so is a changed settings file.
        """
        for name in ("one", "two"):
            write_hollow(tmp_path / name, default_bundle, "a@1")
        (tmp_path / "now").symlink_to("one")
        (tmp_path / "settings.toml").write_text("max_texts = 1")
        settings = Settings(bundle=tmp_path / "now", config=str(tmp_path / "settings.toml"))
        states = [inputs_fingerprint(settings)]

        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "now")
        states.append(inputs_fingerprint(settings))
        (tmp_path / "settings.toml").write_text("max_texts = 22")
        states.append(inputs_fingerprint(settings))
        (tmp_path / "settings.toml").unlink()
        states.append(inputs_fingerprint(settings))

        assert 4 == len(set(states))


def test_checking_is_the_bundles_own(tmp_path: Path, default_bundle: Bundle) -> None:
    """
    The hollow bundles of these tests pass the real check.
    """
    assert "a@1" == bundle.load(write_hollow(tmp_path, default_bundle, "a@1")).full_name
