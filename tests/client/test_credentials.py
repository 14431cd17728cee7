"""How a client shows who it is."""

import argparse
from pathlib import Path

import pytest

from dragoman.cli.connection import add_flags, credentials
from dragoman.client.credentials import Credentials
from dragoman.errors import ConfigError


def command(*arguments: str, **environment: str) -> Credentials:
    """Return what a command makes of its flags."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return credentials(parser.parse_args(arguments), environment)


def test_nothing() -> None:
    """
    By default a client speaks in plain text and shows nothing.
    """
    assert (None, ()) == (command().channel(), command().metadata())


def test_key(tmp_path: Path) -> None:
    """
    A key comes from the environment or from a file, which wins; never from the command line.
    """
    file = tmp_path / "key"
    file.write_text("dragoman_file_x\n")

    assert (("authorization", "Bearer dragoman_e_x"),) == command(DRAGOMAN_API_KEY="dragoman_e_x").metadata()
    said = command("--api-key-from", str(file), DRAGOMAN_API_KEY="dragoman_e_x").metadata()
    assert (("authorization", "Bearer dragoman_file_x"),) == said


@pytest.mark.parametrize("key", ["two\nlines", "a b", "café", "\x00"])
def test_malformed_key(key: str) -> None:
    """
    What cannot be a key is refused before it is sent, without being shown.
    """
    with pytest.raises(ConfigError, match="printable ASCII") as refused:
        Credentials(api_key=key)

    assert key not in str(refused.value)


def test_never_shown() -> None:
    """
    Credentials that end in a log or a stack trace show nothing.
    """
    assert "secret" not in repr(Credentials(api_key="secret"))


def test_half_a_certificate() -> None:
    """
    A client certificate needs its key.
    """
    with pytest.raises(ConfigError, match="needs its private key"):
        command("--client-certificate", "x.crt")


def test_tls_is_implied(tmp_path: Path) -> None:
    """
    Whoever names an authority wants TLS.
    """
    assert Credentials(tls=True).channel() is not None
    (tmp_path / "ca.pem").write_bytes(b"")
    assert Credentials(ca=tmp_path / "ca.pem").channel() is not None
    with pytest.raises(OSError, match="absent"):
        command("--ca", str(tmp_path / "absent")).channel()
