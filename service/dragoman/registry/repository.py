"""The repository: the bundles of a directory, checked and loaded. A damaged bundle is refused and harms no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dragoman import bundle
from dragoman.bundle import MANIFEST, Bundle
from dragoman.config import Settings
from dragoman.errors import BundleError, ConfigError, DragomanError
from dragoman.files import ReadLimits
from dragoman.registry.model_registry import LoadedModel
from dragoman.registry.versions import select

Load = Callable[[Bundle], LoadedModel]
Fingerprint = tuple[object, ...]


@dataclass(frozen=True)
class ScanResult:
    """The models that should serve, and why others cannot. Without models, those that serve now go on."""

    models: list[LoadedModel]
    refused: list[DragomanError]


def bundle_folders(path: Path) -> list[Path]:
    """Return the bundle folders of a directory: itself, or its subdirectories that have a manifest.

    Names that begin with a dot are ignored: Kubernetes keeps the versions of a volume there.
    """
    if _has_manifest(path):
        return [path]
    inside = [folder for folder in _files(path) if not folder.name.startswith(".")]
    return [folder for folder in inside if _has_manifest(folder)] or [path]


def _has_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).exists()
    except OSError:  # not readable: the check of the bundle will say so
        return True


def fingerprint(paths: Sequence[Path]) -> Fingerprint:
    """Return a value that changes whenever a file, or a file of a directory, is written, replaced or removed."""
    files = [file for path in paths for file in (path, *_files(path))]
    return tuple((str(file), _state(file)) for file in files)


def _files(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir()) if path.is_dir() else []
    except OSError:
        return []


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    if path.is_dir():
        return (found.st_dev, found.st_ino)  # differs when a link points elsewhere
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def inputs_fingerprint(settings: Settings) -> Fingerprint:
    """Return the fingerprint of all files that a server reads."""
    files = [Path(settings.config)] if settings.config else []
    return fingerprint([*files, *bundle_folders(settings.bundle)])


def scan(settings: Settings, present: Sequence[LoadedModel], load: Load) -> ScanResult:
    """Find the models that should serve. Those that are present and unchanged are kept, others are loaded.

    A model stays a candidate if its directory was damaged after it was loaded. Checking and loading take long: do not
    call this in the thread of the event loop.
    """
    before = {path: fingerprint([path]) for path in bundle_folders(settings.bundle)}
    limits = ReadLimits(settings.max_bundle_file_bytes, settings.file_read_seconds)
    candidates: list[Bundle] = []
    refused: list[DragomanError] = []

    def refuse(path: Path, error: DragomanError) -> None:
        refused.append(error)
        loaded = [model.bundle for model in present if model.bundle.folder == path]
        candidates.extend(old for old in loaded if old.full_name not in [new.full_name for new in candidates])

    for path in before:
        try:
            _add_candidate(path, candidates, limits)
        except BundleError as error:
            refuse(path, error)
    models = {model.bundle.checksum: model for model in present}
    while True:
        try:
            wanted = select(candidates, settings.keep_versions, settings.default_model)
        except ConfigError as error:
            _close(models.values(), but=present)
            return ScanResult([], [*refused, error])
        missing = next((candidate for candidate in wanted if candidate.checksum not in models), None)
        if missing is None:
            return ScanResult([models[candidate.checksum] for candidate in wanted], refused)
        try:
            models[missing.checksum] = _load(missing, before[missing.folder], load)
        except DragomanError as error:
            candidates.remove(missing)
            refuse(missing.folder, error)


def _add_candidate(path: Path, candidates: list[Bundle], limits: ReadLimits) -> None:
    """Check a bundle and add it, unless it is a copy of a candidate.

    Raises:
        BundleError: It is damaged, or has the name and version of a different bundle.
    """
    found = bundle.load(path, limits)
    same = next((other for other in candidates if other.full_name == found.full_name), None)
    if same is None:
        candidates.append(found)
    elif same.checksum != found.checksum:
        raise BundleError(f"bundle {path}: {found.full_name} is another model in {same.folder}")


def _load(candidate: Bundle, before: Fingerprint, load: Load) -> LoadedModel:
    """Load a checked bundle.

    Raises:
        DragomanError: It cannot be served, or it has changed since it was checked.
    """
    try:
        model = load(candidate)
    except DragomanError:
        raise
    except Exception as error:  # noqa: BLE001 - a new version may fail in any way, and must not harm the old one
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BundleError(f"bundle {candidate.folder}: cannot be loaded: {reason}") from None
    if fingerprint([candidate.folder]) != before:
        model.close()
        raise BundleError(f"bundle {candidate.folder}: changed while it was loaded")
    return model


def _close(models: Iterable[LoadedModel], *, but: Sequence[LoadedModel]) -> None:
    for model in models:
        if model not in but:
            model.close()
