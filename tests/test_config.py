"""Settings: flags over environment over defaults, checked once."""

import argparse
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType

import pytest

from dragoman import config
from dragoman.config import Settings
from dragoman.errors import ConfigError


def test_defaults() -> None:
    """
    Without flags and environment, the defaults of the contract are in force.
    """
    settings = config.read({}, {})

    assert Settings() == settings
    assert (256, 20_000, 200_000) == (
        settings.max_texts,
        settings.max_code_points,
        settings.max_call_code_points,
    )
    assert (4 * 2**20, 60.0, 2000) == (
        settings.max_message_bytes,
        settings.default_deadline_seconds,
        settings.max_queued_sentences,
    )


def test_precedence() -> None:
    """
    A flag wins over the environment, which wins over the default.
    """
    environment = {"DRAGOMAN_PORT": "1", "DRAGOMAN_HOST": "::1"}

    settings = config.read({"port": "2"}, environment)

    assert (2, "::1", 9464) == (settings.port, settings.host, settings.metrics_port)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("metrics_port", "-1", -1),
        ("bundle", "some/where", Path("some/where")),
        ("default_deadline_seconds", "2.5", 2.5),
        ("reflection", "off", False),
        ("reflection", "YES", True),
        ("log_level", "debug", "debug"),
    ],
)
def test_types(name: str, text: str, value: object) -> None:
    """
    Each setting is read as what it is.
    """
    assert value == getattr(config.read({name: text}, {}), name)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("DRAGOMAN_PROT", "1", "DRAGOMAN_PROT: no such setting"),
        ("DRAGOMAN_", "1", "DRAGOMAN_: no such setting"),
        ("DRAGOMAN_PORT", "http", "DRAGOMAN_PORT='http': not a whole number"),
        ("DRAGOMAN_PORT", "", "DRAGOMAN_PORT='': not a whole number"),
        ("DRAGOMAN_PORT", "1.5", "not a whole number"),
        ("DRAGOMAN_PORT", "65536", "must be between 0 and 65535"),
        ("DRAGOMAN_PORT", "-1", "must be between 0 and 65535"),
        ("DRAGOMAN_METRICS_PORT", "-2", "must be between -1 and 65535"),
        ("DRAGOMAN_MAX_TEXTS", "0", "must be between 1 and 2147483647"),
        ("DRAGOMAN_MAX_SENTENCE_TOKENS", "3", "must be between 16 and"),
        ("DRAGOMAN_DRAIN_SECONDS", "nan", "must be at least 0"),
        ("DRAGOMAN_DRAIN_SECONDS", "inf", "must be at least 0"),
        ("DRAGOMAN_DEFAULT_DEADLINE_SECONDS", "1 s", "not a number"),
        ("DRAGOMAN_REFLECTION", "maybe", "DRAGOMAN_REFLECTION='maybe': not a yes or no"),
        ("DRAGOMAN_LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("DRAGOMAN_PORT", "1\n2", r"DRAGOMAN_PORT='1\\n2': not"),
    ],
)
def test_refused(variable: str, value: str, complaint: str) -> None:
    """
    An unknown name or a value that does not fit is refused in one line that says where it was said.
    """
    with pytest.raises(ConfigError, match=complaint) as refused:
        config.read({}, {variable: value})

    assert "\n" not in str(refused.value)


def test_flag_is_named() -> None:
    """
    A bad flag is reported as a flag.
    """
    with pytest.raises(ConfigError, match="--max-texts='none': not a whole number"):
        config.read({"max_texts": "none"}, {})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PATH", "/bin"),
        ("dragoman_port", "x"),
        ("DRAGOMAN_DATA", "/data"),
        ("DRAGOMAN_RUNS", "/runs"),
        ("DRAGOMAN_API_KEY", "dragoman_a_secret"),
        ("DRAGOMAN_SERVICE_HOST", "10.0.0.1"),
        ("DRAGOMAN_SERVICE_PORT", "50051"),
        ("DRAGOMAN_SERVICE_PORT_GRPC", "50051"),
        ("DRAGOMAN_PORT", "tcp://10.0.0.1:50051"),
        ("DRAGOMAN_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("DRAGOMAN_METRICS_PORT", "tcp://10.0.0.1:9464"),
        ("DRAGOMAN_METRICS_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_foreign_names(variable: str, value: str) -> None:
    """
    Variables of training, of clients, of other programs, and those that Kubernetes makes of a Service are left alone.
    """
    assert Settings() == config.read({}, {variable: value})


def test_environment_is_only_read() -> None:
    """
    The environment is a mapping like any other, and is not written to.
    """
    assert 7 == config.read({}, MappingProxyType({"DRAGOMAN_PORT": "7"})).port


def test_every_setting_has_a_flag() -> None:
    """
    Each setting is a flag whose help says the default, the variable, and when to change it.
    """
    parser = argparse.ArgumentParser()
    config.add_flags(parser)
    help_ = " ".join(parser.format_help().split())

    for item in fields(Settings):
        assert f"--{item.name.replace('_', '-')} VALUE" in help_
        assert f"environment: DRAGOMAN_{item.name.upper()})" in help_
        assert len(item.metadata["help"].split()) >= 4


def test_flags_not_given_leave_no_trace() -> None:
    """
    Only flags that were given reach the settings.
    """
    parser = argparse.ArgumentParser()
    config.add_flags(parser)

    assert {"port": "7"} == vars(parser.parse_args(["--port", "7"]))


OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize("variable", [OTLP, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_tracing(variable: str) -> None:
    """
    Tracing goes where the standard variables say.
    """
    assert config.read({"tracing": "yes"}, {variable: "http://collector:4317"}).tracing


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, f"tracing: {OTLP} does not say where to; here it would be http://localhost:4317"),
        ({OTLP: ""}, f"tracing: {OTLP} does not say where to; here it would be http://localhost:4317"),
        (
            {OTLP: "http://x:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "tracing: OTEL_EXPORTER_OTLP_PROTOCOL='http/protobuf': spans are sent by grpc only",
        ),
    ],
)
def test_tracing_into_the_void(environment: dict[str, str], said: str) -> None:
    """
    Tracing to nowhere, or in a protocol that is not spoken, is refused; without tracing nobody cares.
    """
    with pytest.raises(ConfigError) as refused:
        config.read({"tracing": "yes"}, environment)

    assert said == str(refused.value)
    assert not config.read({}, environment).tracing


class TestFile:
    def test_precedence(self, tmp_path: Path) -> None:
        """
        The environment and flags win over the file, which wins over the defaults.
        """
        file = tmp_path / "settings.toml"
        file.write_text('port = 1\nhost = "::1"\nmax_texts = 2\nreflection = false\ndrain_seconds = 4\n')

        settings = config.read({"config": str(file), "port": "3"}, {"DRAGOMAN_HOST": "::2"})

        found = (settings.port, settings.host, settings.max_texts, settings.reflection)
        assert (3, "::2", 2, False) == found
        assert 4.0 == settings.drain_seconds
        assert Settings().max_code_points == settings.max_code_points

    def test_named_by_the_environment(self, tmp_path: Path) -> None:
        """
        The environment may name the file; an empty name is none.
        """
        file = tmp_path / "settings.toml"
        file.write_text("max_texts = 2")

        assert 2 == config.read({}, {"DRAGOMAN_CONFIG": str(file)}).max_texts
        assert Settings() == config.read({}, {"DRAGOMAN_CONFIG": ""})

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"max_text = 1", "'max_text': no such setting"),
            (b'config = "other.toml"', "'config': no such setting"),
            (b"max_texts = 0", "max_texts='0': must be between 1 and 2147483647"),
            (b"max_texts = 1.5", "max_texts='1.5': not a whole number"),
            (b"max_texts = true", "max_texts='True': not a whole number"),
            (b"max_texts = [1]", "'max_texts': a text, a number, true or false is wanted"),
            (b"max_texts = 1979-05-27", "'max_texts': a text, a number, true or false is wanted"),
            (b"drain_seconds = nan", "must be at least 0"),
            (b"[limits]\nmax_texts = 1", "'limits': no such setting"),
            (b'max_texts = 1\n"a\\nb" = 1', r"'a\nb': no such setting"),
            (b"max_texts = ", "not valid TOML"),
            (b"max_texts = 1\nmax_texts = 2", "not valid TOML"),
            (b"host = '\xff'", "not valid TOML"),
            (b"a = " + b"[" * 5000, "not valid TOML"),
        ],
    )
    def test_refused(self, tmp_path: Path, content: bytes, said: str) -> None:
        """
        A file that is not wholly understood is refused in one line that names it.
        """
        file = tmp_path / "settings.toml"
        file.write_bytes(content)

        with pytest.raises(ConfigError) as refused:
            config.read({"config": str(file)}, {})

        assert said in str(refused.value)
        assert f"settings file {file}: " in str(refused.value)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(("name", "said"), [("nowhere", "No such file"), ("", "Is a directory")])
    def test_unreadable(self, tmp_path: Path, name: str, said: str) -> None:
        """
        So is one that cannot be read.
        """
        with pytest.raises(ConfigError, match=said):
            config.read({"config": str(tmp_path / name)}, {})


class TestTakeOver:
    def test_live_and_not(self) -> None:
        """
        A running server takes over what is live, and says of the rest that it has to wait.
        """
        running = Settings(port=1, threads=2, max_texts=3)

        settings, changed, waiting = config.take_over(running, Settings(port=9, threads=2, max_texts=4))

        assert Settings(port=1, threads=2, max_texts=4) == settings
        assert ["max_texts: 3 -> 4"] == changed
        assert ["port: 1 -> 9"] == waiting

    def test_nothing(self) -> None:
        """
        Without a change there is nothing to say.
        """
        assert (Settings(), [], []) == config.take_over(Settings(), Settings())

    def test_what_the_sockets_and_the_engine_are_made_of_is_not_live(self) -> None:
        """
        Only what is asked for anew at each call, or handed on by the reload, may be marked live.
        """
        live = {item.name for item in fields(Settings) if item.metadata["live"]}

        assert {"host", "port", "metrics_port", "reflection", "max_message_bytes", "config"}.isdisjoint(live)
        assert {"decode_loops", "threads", "max_running_sentences", "max_batch_tokens"}.isdisjoint(live)
        assert "max_sentence_tokens" not in live
