"""The proxy in front: as manifests have it, and as HAProxy runs it before a real server."""

import contextlib
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
import kubernetes_validate
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dragoman import config
from dragoman.security import key_store
from dragoman.v1 import translation_pb2 as pb
from dragoman.v1.translation_pb2_grpc import TranslationServiceStub
from tests.certificates import Authority
from tests.conftest import require_tool
from tests.deploy.edge import COMPONENT, CONFIG, Edge, edge
from tests.deploy.manifests import ROOT, Rendered, Resource, read, render
from tests.deploy.test_manifests import CUSTOM, KUBERNETES
from tests.fuzz import frames
from tests.process import PATIENCE
from tests.rpc.contract import request
from tests.rpc.guards import bearer

_NOT_FOUND = (
    b"\0\0\0\1\x8d"  # headers of stream 1 that begin with status 404; gRPC's clients read UNIMPLEMENTED
)
SERVING = health_pb2.HealthCheckResponse.SERVING


class TestManifests:
    @property
    def overlay(self) -> Rendered:
        """Return an overlay with the component."""
        return Rendered("edge-proxy", render(ROOT / "tests/deploy/overlays/edge-proxy"))

    def containers(self) -> tuple[Resource, Resource]:
        """Return the containers of server and proxy."""
        by_name = {each["name"]: each for each in self.overlay.pod["spec"]["containers"]}
        return by_name["dragoman"], by_name["edge-proxy"]

    def test_schemas(self) -> None:
        """
        Every resource is valid, without a field too many.
        """
        for resource in self.overlay.resources:
            if resource["kind"] not in CUSTOM:
                kubernetes_validate.validate(resource, KUBERNETES[0], strict=True)

    def test_the_server_is_behind_it(self) -> None:
        """
        The server listens on loopback, in plain text, where the proxy looks for it; nobody else gets at it by a named port.
        """
        server, _ = self.containers()
        chosen = config.read({}, self.overlay.settings)
        expected = dict(re.findall(r"\$\{(EDGE_SERVER\w*_?PORT)-(\d+)\}", CONFIG.read_text("utf-8")))

        assert ("127.0.0.1", "", "") == (chosen.host, chosen.tls_certificate, chosen.tls_key)
        assert {
            "EDGE_SERVER_PORT": str(chosen.port),
            "EDGE_SERVER_HEALTH_PORT": str(chosen.health_port),
        } == expected
        assert "127.0.0.1/32" == chosen.trusted_peers
        assert [("metrics", chosen.metrics_port)] == [
            (p["name"], p["containerPort"]) for p in server["ports"]
        ]
        assert "0.0.0.0" == chosen.metrics_host

    def test_ports(self) -> None:
        """
        Service, probes, scrapes and policy meet the proxy where it listens.
        """
        server, proxy = self.containers()
        listens = dict(re.findall(r"\$\{(EDGE_\w*PORT)-(\d+)\}", CONFIG.read_text("utf-8")))
        ports = {each["name"]: str(each["containerPort"]) for each in proxy["ports"]}
        policy = self.overlay.one("NetworkPolicy")["spec"]["ingress"]

        assert listens.items() >= {
            "EDGE_PORT": ports["grpc"], "EDGE_HEALTH_PORT": ports["health"], "EDGE_METRICS_PORT": ports["edge-metrics"],
        }.items()  # fmt: skip
        probed = {
            server[each]["grpc"]["port"] for each in ("startupProbe", "readinessProbe", "livenessProbe")
        }
        assert {int(ports["health"])} == probed
        assert "grpc" == self.overlay.one("Service")["spec"]["ports"][0]["targetPort"]
        endpoints = self.overlay.one("PodMonitor")["spec"]["podMetricsEndpoints"]
        assert ["metrics", "edge-metrics"] == [each["port"] for each in endpoints]
        assert [["grpc"], ["metrics", "edge-metrics"]] == [
            [p["port"] for p in rule["ports"]] for rule in policy
        ]

    def test_what_it_may(self) -> None:
        """
        The proxy has no more rights than the server, and files where it looks for them.
        """
        server, proxy = self.containers()
        mounts = {each["mountPath"]: each["readOnly"] for each in proxy["volumeMounts"]}
        [files] = [each["data"] for each in self.overlay.all("ConfigMap") if "haproxy.cfg" in each["data"]]
        [name] = [
            each["metadata"]["name"]
            for each in self.overlay.all("ConfigMap")
            if "haproxy.cfg" in each["data"]
        ]
        [volume] = [each for each in self.overlay.pod["spec"]["volumes"] if each["name"] == "edge-proxy"]

        assert server["securityContext"] == proxy["securityContext"]
        assert {"/etc/edge-proxy": True, "/etc/dragoman/tls": True} == mounts
        assert {"haproxy.cfg", "run.sh"} == files.keys()
        assert (name, ["sh", "/etc/edge-proxy/run.sh"]) == (volume["configMap"]["name"], proxy["command"])
        assert (
            "dragoman" == self.overlay.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["name"]
        )
        assert read("components/edge-proxy/kustomization.yaml")["configMapGenerator"]


def test_haproxy_accepts_it() -> None:
    """
    HAProxy finds nothing to warn of.
    """
    command = [require_tool("haproxy"), "-c", "-V", "-f", str(CONFIG)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (0, "") == (done.returncode, "".join(re.findall(r".*WARNING.*|.*ALERT.*", done.stderr))), (
        done.stderr
    )


def pem(folder: Path, authority: Authority) -> Path:
    """Write a certificate and its key as cert-manager does."""
    certificate, key = authority.issue()
    (folder / "tls.key").write_bytes(key)
    (folder / "tls.crt").write_bytes(certificate)
    return folder / "tls.crt"


def secure(proxy: Edge, authority: Authority) -> grpc.Channel:
    """Return a connection of its own."""
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"127.0.0.1:{proxy.port}", credentials, options=options)


def serial(proxy: Edge, authority: Authority) -> object:
    """Return the serial number of the certificate that a new connection gets."""
    context = ssl.create_default_context(cafile=str(authority.file))
    with (
        socket.create_connection(("127.0.0.1", proxy.port), 5) as opened,
        context.wrap_socket(opened, server_hostname="127.0.0.1") as wrapped,
    ):
        found = wrapped.getpeercert() or {}
        return found["serialNumber"]


def test_calls_pass(tmp_path: Path) -> None:
    """
    Calls come through as they are: answers, streams, errors with all their details, large metadata, health, the last byte of
    the largest message; and a renewed certificate is taken up while a stream goes on.
    """
    authority = Authority(tmp_path / "ca")
    certificate = pem(tmp_path, authority)
    key = key_store.create(tmp_path / "keys.json", "billing")
    script = {"EDGE_CERTIFICATE": str(certificate), "EDGE_CONFIG": str(CONFIG), "EDGE_LOOK_SECONDS": "0.2"}
    command = ["env", *(f"{name}={value}" for name, value in script.items()), "sh", str(COMPONENT / "run.sh")]
    bind = f"ssl crt {certificate} alpn h2"
    with (
        edge(tmp_path, bind, *command, DRAGOMAN_API_KEY_FILE=str(tmp_path / "keys.json")) as proxy,
        secure(proxy, authority) as channel,
    ):
        stub: Any = TranslationServiceStub(channel)
        how: Any = {"metadata": bearer(key), "timeout": 30}
        assert stub.Translate(request("The cat sleeps."), **how).translations[0].translated_text
        assert stub.ListModels(
            pb.ListModelsRequest(), metadata=(*bearer(key), ("x-much", "m" * 15_000)), timeout=30
        )
        check_errors(stub, key)
        check_stream(proxy, authority, stub, key, tmp_path)
        check_health(proxy)


def check_errors(stub: Any, key: str) -> None:
    """Assert that refusals arrive with what they carry, whoever refuses."""
    with pytest.raises(grpc.RpcError) as stranger:
        stub.Translate(request("Hi."), timeout=30)
    with pytest.raises(grpc.RpcError) as large:
        stub.Translate(request("x" * 3_000_000), metadata=bearer(key), timeout=30)
    failed: list[Any] = [stranger.value, large.value]

    assert ["UNAUTHENTICATED", "INVALID_ARGUMENT"] == [each.code().name for each in failed]
    assert all("grpc-status-details-bin" in dict(each.trailing_metadata()) for each in failed)


def check_stream(proxy: Edge, authority: Authority, stub: Any, key: str, folder: Path) -> None:
    """Assert that a stream goes on while the certificate changes for those who come later."""
    options = pb.TranslateRequest(source_language_code="en", target_language_code="fr")
    first = serial(proxy, authority)

    def texts() -> Any:
        for number in range(3):
            message = pb.StreamTranslateRequest(id=str(number), content="Yes.")
            if not number:
                message.options.source_language_code = options.source_language_code
                message.options.target_language_code = options.target_language_code
            yield message
            if number == 1:
                pem(folder, authority)
                deadline = time.monotonic() + PATIENCE
                while serial(proxy, authority) == first:
                    assert time.monotonic() < deadline, (folder / "haproxy.log").read_text()
                    time.sleep(0.1)

    replies = list(stub.StreamTranslate(texts(), metadata=bearer(key), timeout=PATIENCE))
    assert ["0", "1", "2"] == sorted(reply.id for reply in replies if reply.last)


def check_health(proxy: Edge) -> None:
    """Assert that health, and nothing but health, is to be had in plain text."""
    with grpc.insecure_channel(f"127.0.0.1:{proxy.health_port}") as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert SERVING == reply.status
        stub: Any = TranslationServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            stub.ListModels(pb.ListModelsRequest(), timeout=10)


def test_what_it_keeps_away(tmp_path: Path) -> None:
    """
    Names that are not text, headers that stop half way, too many connections from one address: the server sees none of it.
    """
    quick = tmp_path / "haproxy.cfg"
    quick.write_text(
        CONFIG.read_text("utf-8")
        .replace("http-request 10s", "http-request 1s")
        .replace("keep-alive 5m", "keep-alive 1s"),
        "utf-8",
    )
    odd = [(name, b"/\xff\xfe" if name == b":path" else value) for name, value in frames.call_headers()]
    half = frames.frame(frames.HEADERS, 0, 1, frames.block(frames.call_headers())[:20])
    with edge(tmp_path, config=quick) as proxy:
        assert _NOT_FOUND in answer(proxy.port, frames.HELLO + frames.call(b"", headers=odd))
        assert is_closed(proxy.port, frames.HELLO + half)
        assert is_closed(proxy.port, frames.HELLO)
        refused = rejected(proxy.port, 230)

        assert refused >= 29
        assert proxy.refused() >= 30
        assert 0 == proxy.server.metric("dragoman_taken_calls_total")


def answer(port: int, sent: bytes) -> bytes:
    """Send something and return what comes within a second or two."""
    with socket.create_connection(("127.0.0.1", port), 2) as opened:
        opened.sendall(sent)
        received = b""
        try:
            while more := opened.recv(4096):
                received += more
        except TimeoutError:
            pass
        return received


def is_closed(port: int, sent: bytes) -> bool:
    """Tell whether a connection that says no more than this is closed."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as opened:
        opened.sendall(sent)
        try:
            while opened.recv(4096):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


def rejected(port: int, count: int) -> int:
    """Open so many connections at once, and return how many are closed without a word."""
    with contextlib.ExitStack() as stack:
        opened, refused = [], 0
        for _ in range(count):
            try:
                opened.append(
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.3", 0)))
                )
            except ConnectionResetError:
                refused += 1
        time.sleep(0.5)
        return refused + sum(map(hung_up, opened))


def hung_up(opened: socket.socket) -> bool:
    """Tell whether the other side has closed a connection by now."""
    opened.setblocking(False)
    try:
        return not opened.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
