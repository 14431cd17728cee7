"""`dragoman keys`, and commands that show who they are to a server with TLS and keys."""

import os
import stat
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.cli.test_main import complaint, dragoman, start, stop

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands without the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("DRAGOMAN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DRAGOMAN_THREADS", "1")


class TestKeys:
    def test_create_list_revoke(self, tmp_path: Path) -> None:
        """
        A key is printed alone on standard output, once; the list shows all but the keys; what is revoked is gone.
        """
        file = tmp_path / "keys.json"
        limits = [
            "--characters-per-minute",
            "100000",
            "--expires",
            "2031-12-31",
            "--methods",
            "Align,ListModels",
        ]

        made = dragoman("keys", "create", "billing", "--file", str(file), *limits)
        dragoman("keys", "create", "mail", "--file", str(file))
        listed = dragoman("keys", "list", "--file", str(file)).stdout

        key = made.stdout.strip()
        assert ("dragoman", "billing") == tuple(key.split("_")[:2])
        assert "the only time that the key is shown" in made.stderr
        assert key not in listed + made.stderr + file.read_text()
        for said in ("billing", "Align ListModels", "100,000", "2031-12-31", "mail", "all"):
            assert said in listed
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        dragoman("keys", "revoke", "billing", "--file", str(file))
        assert "billing" not in dragoman("keys", "list", "--file", str(file)).stdout

    def test_open_to_all(self, tmp_path: Path) -> None:
        """
        A key file that all users of the machine may write is warned of, whatever is done with it.
        """
        file = tmp_path / "keys.json"
        dragoman("keys", "create", "a", "--file", str(file))
        file.chmod(0o606)

        for verb in (["create", "b"], ["list"], ["revoke", "b"]):
            said = dragoman("keys", *verb, "--file", str(file)).stderr
            assert f"dragoman: {file} may be written by all users of this machine (chmod o-w)\n" in said

    def test_file_from_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        The variable that tells the server tells the command too.
        """
        monkeypatch.setenv("DRAGOMAN_API_KEY_FILE", str(tmp_path / "keys.json"))

        dragoman("keys", "create", "a")

        assert (tmp_path / "keys.json").exists()

    def test_complaints(self, tmp_path: Path) -> None:
        """
        Whatever is wrong is one line.
        """
        file, folder = str(tmp_path / "keys.json"), str(tmp_path)
        dragoman("keys", "create", "a", "--file", file)
        for arguments, said in (
            (["create", "a", "--file", file], "there is a key 'a' already"),
            (["create", "B c", "--file", file], "id 'B c': must be"),
            (["create", "b", "--file", file, "--methods", "Fly"], "'Fly' is no method"),
            (["create", "b", "--file", file, "--expires", "soon"], "--expires: 'soon' is no date"),
            (["create", "b", "--file", file, "--requests-per-minute", "x"], "--requests-per-minute='x': not a whole"),
            (["create", "b", "--file", file, "--requests-per-minute", "-1"], "requests_per_minute=-1: must be"),
            (["revoke", "b", "--file", file], "there is no key 'b'"),
            (["list", "--file", file + "x"], "No such file"),
            (["create", "b", "--file", file + "/x"], "Not a directory"),
            (["list", "--file", folder], "Is a directory"),
            (["list"], "which key file? give --file or set DRAGOMAN_API_KEY_FILE"),
        ):  # fmt: skip
            assert said in complaint("keys", *arguments)


def test_commands_show_who_they_are(tmp_path: Path) -> None:
    """
    With the right authority, certificate and key, every command is served; without any of them, none.
    """
    authority, keys = Authority(tmp_path / "ca"), str(tmp_path / "keys.json")
    certificate, private = map(str, authority.write("server"))
    shown, its_key = map(str, authority.write("client", "client.example"))
    key = dragoman("keys", "create", "a", "--file", keys).stdout.strip()
    (tmp_path / "key.txt").write_text(key + "\n")
    tls = ["--tls-certificate", certificate, "--tls-key", private, "--tls-client-ca", str(authority.file)]
    serving = start(*tls, "--api-key-file", keys, "--health-port", "0")
    try:
        connection = ["--ca", str(authority.file), "--client-certificate", shown, "--client-key", its_key]
        with_key = [*connection, "--api-key-from", str(tmp_path / "key.txt")]
        pair = ["--from", "en", "--to", "fr", "--server", serving.address]

        assert dragoman("translate", *pair, *with_key, "Hello.").stdout.strip()
        assert dragoman("translate", *pair, *connection, "Hello.", DRAGOMAN_API_KEY=key).stdout.strip()
        assert "log-probability" in dragoman("align", *pair, *with_key, "Hello.", "Bonjour.").stdout
        assert "tiny" in dragoman("models", "--server", serving.address, *with_key).stdout
        load = ["--callers", "1", "--seconds", "0.3", "--warm-up", "0"]
        assert "answered" in dragoman("bench", serving.address, *load, *with_key).stdout
        assert "UNAUTHENTICATED: an API key is required" in complaint("translate", *pair, *connection, "Hi.")
        assert "UNAVAILABLE" in complaint("translate", *pair, "Hi.")
        assert "UNAVAILABLE" in complaint("translate", *pair, "--ca", str(authority.file), "Hi.")
        assert "needs its private key" in complaint("translate", *pair, "--client-certificate", shown, "Hi.")
        assert "absent" in complaint("translate", *pair, "--ca", str(tmp_path / "absent"), "Hi.")
    finally:
        said = stop(serving)
    assert "TLS with client certificates; API keys: 1; health on port" in said
    assert key not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--api-key-file", "absent.json"], "API keys: absent.json: No such file or directory"),
        (["--tls-certificate", "absent.pem"], "tls_certificate is set and tls_key is not"),
        (["--tls-certificate", "a.pem", "--tls-key", "b.pem"], "certificate: a.pem: No such file or directory"),
    ],
)  # fmt: skip
def test_bad_start(arguments: list[str], said: str) -> None:
    """
    A server whose files are not there does not start, and says so in one line.
    """
    ports = ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "-1"]

    assert said in complaint("serve", *ports, *arguments)
