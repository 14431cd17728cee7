"""Which certificates are taken, and which are not."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from dragoman.errors import ConfigError
from dragoman.security.certificates import Certificates
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return one that signs."""
    return Authority(tmp_path / "ca")


def test_good(authority: Authority) -> None:
    """
    A pair that belongs together is taken, with or without an authority for clients.
    """
    pair = authority.write("server")

    assert Certificates(*pair, None).credentials()
    assert Certificates(*pair, authority.file).credentials()


def test_bad(authority: Authority, tmp_path: Path) -> None:
    """
    What is missing, cut, mixed up or encrypted is refused in one line that names the files and shows nothing of them.
    """
    certificate, key = authority.write("server")
    _, others = authority.write("other")
    empty, cut, secret = (tmp_path / name for name in ("empty", "cut", "secret"))
    empty.write_bytes(b"")
    cut.write_bytes(key.read_bytes()[:-60])
    secret.write_bytes(_encrypted(key.read_bytes()))

    for pair, complaint in (
        ((certificate, others), "key values mismatch"),
        ((key, certificate), "are no pair"),
        ((certificate, cut), "are no pair: not PEM, or not whole"),
        ((certificate, empty), "are no pair"),
        ((empty, key), "are no pair"),
        ((certificate, secret), "the key has a passphrase"),
        ((certificate, tmp_path), "Is a directory"),
        ((tmp_path / "absent", key), "No such file"),
    ):
        with pytest.raises(ConfigError, match=complaint) as refused:
            Certificates(*pair, None)
        assert "\n" not in str(refused.value)
        assert "BEGIN" not in str(refused.value)
    for file in (empty, key):
        with pytest.raises(ConfigError, match="is no certificate"):
            Certificates(certificate, key, file)


def _encrypted(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, None)
    how = serialization.BestAvailableEncryption(b"secret")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def test_half_rotated(authority: Authority) -> None:
    """
    A new certificate without its key is not used; once the key is there too, the pair is, and is given out once.
    """
    certificate, key = authority.write("server")
    certificates = Certificates(certificate, key, None)
    new_certificate, new_key = authority.issue()

    certificate.write_bytes(new_certificate)
    outcomes = [certificates.reloading_file.refresh() for _ in range(2)]
    assert certificates._news() is None
    key.write_bytes(new_key)
    outcomes.append(certificates.reloading_file.refresh())

    assert [None, False, True] == outcomes
    assert certificates.reloading_file.value is certificates._news()
    assert certificates._news() is None
