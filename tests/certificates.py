"""Certificates for tests of TLS, made as they run."""

from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1")


class Authority:
    """One that signs certificates, and writes them where a server or a client looks for them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._ca = folder, trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, *names: str, common_name: str | None = None) -> tuple[bytes, bytes]:
        """Return a certificate and its key, both PEM."""
        issued = self._ca.issue_cert(*(names or NAMES), common_name=common_name)
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def write(self, stem: str, *names: str, common_name: str | None = None) -> tuple[Path, Path]:
        """Write a certificate and its key in turn, and return where they are."""
        paths = self._folder / f"{stem}.crt", self._folder / f"{stem}.key"
        for path, content in zip(paths, self.issue(*names, common_name=common_name), strict=True):
            path.write_bytes(content)
        return paths
