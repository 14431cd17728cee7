"""Manifests say what the server and Kubernetes understand, and agree with each other."""

import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import PurePath

import kubernetes_validate
import pytest

from dragoman import __version__, config
from dragoman.observability.metrics import SERVICE
from tests.deploy.manifests import DEPLOY, Rendered, Resource, every_overlay, read, rendered

KUBERNETES = ("1.32", kubernetes_validate.latest_version())  # the oldest we promise, and the newest
# Of other projects, without a schema; `CUSTOM` says how each is checked instead.
CUSTOM = {
    "PodMonitor": "monitoring.coreos.com/v1",  # test_pod_monitor
    "PrometheusRule": "monitoring.coreos.com/v1",  # test_rules.py
    "Certificate": "cert-manager.io/v1",  # test_certificate
}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def settings(overlay: Rendered) -> config.Settings:
    """Return the settings of an overlay as the server reads them."""
    if "DRAGOMAN_CONFIG" not in overlay.settings:
        return config.read({}, overlay.settings)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(overlay.live_settings)
        file.flush()
        return config.read({}, overlay.settings | {"DRAGOMAN_CONFIG": file.name})


@every_overlay
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_schemas(name: str, kubernetes: str) -> None:
    """
    Every resource is valid, without a field too many; kinds of other projects are known by name.
    """
    for resource in rendered(name).resources:
        if resource["kind"] in CUSTOM:
            assert CUSTOM[resource["kind"]] == resource["apiVersion"]
        else:
            kubernetes_validate.validate(resource, kubernetes, strict=True)


@every_overlay
def test_settings_are_known(name: str) -> None:
    """
    The server accepts every setting of the manifests.
    """
    assert settings(rendered(name)).drain_seconds > 0


@every_overlay
def test_ports(name: str) -> None:
    """
    Container, Service and probes use the ports that the settings name.
    """
    overlay = rendered(name)
    chosen = settings(overlay)
    health = chosen.port if chosen.health_port < 0 else chosen.health_port

    assert chosen.port == overlay.ports["grpc"]
    assert chosen.metrics_port == overlay.ports["metrics"]
    assert {health} == {overlay.container[probe]["grpc"]["port"] for probe in PROBES}
    assert health in overlay.ports.values()
    [port] = overlay.one("Service")["spec"]["ports"]
    assert ("grpc", chosen.port) == (port["targetPort"], port["port"])
    for policy in overlay.all("NetworkPolicy"):
        named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert {"grpc", "metrics"} == named  # not health: probes come from the node


@every_overlay
def test_probes_ask_for_services_that_exist(name: str) -> None:
    """
    Readiness asks for the service that callers use, the others for the server as a whole.
    """
    container = rendered(name).container

    assert SERVICE == container["readinessProbe"]["grpc"]["service"]
    assert all("service" not in container[probe]["grpc"] for probe in ("startupProbe", "livenessProbe"))


@every_overlay
def test_time_to_leave(name: str) -> None:
    """
    A pod is given more time to end than it spends waiting and draining, and the last calls, its ports and its log after that.
    """
    overlay = rendered(name)
    waiting = overlay.container["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert (
        waiting + settings(overlay).drain_seconds + 8 <= overlay.pod["spec"]["terminationGracePeriodSeconds"]
    )


@every_overlay
def test_least_privilege(name: str) -> None:
    """
    Pods keep to the restricted standard, on a root they cannot write to, with no way into the cluster's API.
    """
    overlay = rendered(name)
    pod, container = overlay.pod["spec"], overlay.container

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    expected = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert expected == container["securityContext"]
    assert pod["automountServiceAccountToken"] is False
    assert overlay.one("ServiceAccount")["metadata"]["name"] == pod["serviceAccountName"]
    assert pod["enableServiceLinks"] is False


@every_overlay
def test_resources(name: str) -> None:
    """
    Processor and memory are requested and limited; whole processors, because the server makes threads of them.
    """
    resources = rendered(name).container["resources"]

    assert {"cpu", "memory"} == resources["requests"].keys() == resources["limits"].keys()
    assert resources["requests"]["cpu"] == resources["limits"]["cpu"]
    assert resources["limits"]["cpu"].isdigit()


def selectors(overlay: Rendered) -> Iterator[dict[str, str]]:
    """Yield every label selector that is meant to find our pods."""
    for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
        yield from (item["spec"]["selector"]["matchLabels"] for item in overlay.all(kind))
    yield overlay.one("Service")["spec"]["selector"]
    yield from (item["spec"]["podSelector"]["matchLabels"] for item in overlay.all("NetworkPolicy"))
    spec = overlay.pod["spec"]
    for spread in spec.get("topologySpreadConstraints", []):
        yield spread["labelSelector"]["matchLabels"]
    rules = spec.get("affinity", {}).get("podAntiAffinity", {})
    for rule in rules.get("preferredDuringSchedulingIgnoredDuringExecution", []):
        yield rule["podAffinityTerm"]["labelSelector"]["matchLabels"]


@every_overlay
def test_labels(name: str) -> None:
    """
    Every selector finds the server's pods by the same two labels, and nothing lacks its name.
    """
    overlay = rendered(name)

    for selector in selectors(overlay):
        assert {"app.kubernetes.io/name", "app.kubernetes.io/component"} == selector.keys()
        assert selector.items() <= overlay.pod["metadata"]["labels"].items()
    ours = [item for item in overlay.resources if item["kind"] != "Namespace"]
    assert {"dragoman"} == {item["metadata"]["labels"]["app.kubernetes.io/name"] for item in ours}


@every_overlay
def test_version(name: str) -> None:
    """
    Image and labels carry the version of the project.
    """
    overlay = rendered(name)

    assert __version__ == overlay.pod["metadata"]["labels"]["app.kubernetes.io/version"]
    assert __version__ == overlay.container["image"].rpartition(":")[2]


@every_overlay
def test_changed_settings_roll_the_pods(name: str) -> None:
    """
    The settings' name carries a checksum, and the pods refer to it.
    """
    overlay = rendered(name)
    [source] = overlay.container["envFrom"]
    names = [item["metadata"]["name"] for item in overlay.all("ConfigMap")]

    assert source["configMapRef"]["name"] in names
    assert "dragoman" != source["configMapRef"]["name"]


@every_overlay
def test_clients_see_every_pod(name: str) -> None:
    """
    The Service is headless: clients spread their calls themselves.
    """
    assert "None" == rendered(name).one("Service")["spec"]["clusterIP"]


def test_autoscaler() -> None:
    """
    The autoscaler owns the number of pods and reads what the adapter makes of a rule that exists.
    """
    overlay = rendered("production")
    spec = overlay.one("HorizontalPodAutoscaler")["spec"]
    [adapter] = read("components/autoscaling/adapter-rules.yaml")["rules"]
    recorded = {
        rule["record"]
        for group in read("monitoring/rules/recording.yaml")["groups"]
        for rule in group["rules"]
    }

    assert "replicas" not in overlay.one("Deployment")["spec"]
    [metric] = [item["pods"]["metric"]["name"] for item in spec["metrics"] if item["type"] == "Pods"]
    assert metric == adapter["name"]["as"]
    assert adapter["seriesQuery"].split('"')[1] in recorded
    assert overlay.one("PodDisruptionBudget")["spec"]["maxUnavailable"] < spec["minReplicas"]


def test_pod_monitor() -> None:
    """
    Prometheus reads the port of the metrics, and calls us by the name that rules and panels use.
    """
    overlay = rendered("production")
    spec = overlay.one("PodMonitor")["spec"]
    [endpoint] = spec["podMetricsEndpoints"]

    assert {"jobLabel", "selector", "podMetricsEndpoints"} == spec.keys()
    assert {"port", "interval", "scrapeTimeout"} == endpoint.keys()
    assert endpoint["port"] in overlay.ports
    assert "dragoman" == overlay.pod["metadata"]["labels"][spec["jobLabel"]]


def test_certificate() -> None:
    """
    The certificate bears the names of the Service, and its secret is mounted where the settings look for it.
    """
    overlay = rendered("production")
    certificate: Resource = overlay.one("Certificate")["spec"]
    metadata = overlay.one("Service")["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    mounts = mounted_secrets(overlay)
    chosen = settings(overlay)

    short = f"{name}.{namespace}"
    assert [name, short, f"{short}.svc", f"{short}.svc.cluster.local", "localhost"] == certificate["dnsNames"]
    path = mounts[certificate["secretName"]]
    assert (f"{path}/tls.crt", f"{path}/tls.key") == (chosen.tls_certificate, chosen.tls_key)


def test_api_keys() -> None:
    """
    The Secret that the component's README makes is mounted where the settings look for its file.
    """
    overlay = rendered("production")
    said = (DEPLOY / "components/api-keys/README.md").read_text("utf-8")

    assert "create secret generic dragoman-api-keys --from-file=keys.json" in said
    assert f"{mounted_secrets(overlay)['dragoman-api-keys']}/keys.json" == settings(overlay).api_key_file


def test_secrets_are_renewed_and_private() -> None:
    """
    Secrets are mounted as whole folders, else they would never be renewed, for our group and nobody else.
    """
    overlay = rendered("production")
    spec = overlay.pod["spec"]

    assert 2 == len(mounted_secrets(overlay))
    assert not [mount for mount in overlay.container["volumeMounts"] if "subPath" in mount]
    assert all(mount["readOnly"] for mount in overlay.container["volumeMounts"])
    assert {0o440} == {volume["secret"]["defaultMode"] for volume in spec["volumes"] if "secret" in volume}
    assert spec["securityContext"]["runAsGroup"] == spec["securityContext"]["fsGroup"]


def mounted_secrets(overlay: Rendered) -> dict[str, str]:
    """Return where each Secret is mounted."""
    paths = {mount["name"]: mount["mountPath"] for mount in overlay.container["volumeMounts"]}
    return {
        volume["secret"]["secretName"]: paths[volume["name"]]
        for volume in overlay.pod["spec"]["volumes"]
        if "secret" in volume
    }


@pytest.mark.parametrize("name", ["production", "model-volume"])
def test_live_settings(name: str) -> None:
    """
    The settings file keeps its name, so that pods that run see it change; all in it is live and overruled by nothing.
    """
    overlay = rendered(name)
    [volume] = [item for item in overlay.pod["spec"]["volumes"] if "configMap" in item]
    [mount] = [item for item in overlay.container["volumeMounts"] if item["name"] == volume["name"]]
    live = {item.name for item in fields(config.Settings) if item.metadata["live"]}
    written = tomllib.loads(overlay.live_settings).keys()

    assert "dragoman-live" == volume["configMap"]["name"]
    assert "dragoman-live" in [item["metadata"]["name"] for item in overlay.all("ConfigMap")]
    assert mount["mountPath"] == str(PurePath(overlay.settings["DRAGOMAN_CONFIG"]).parent)
    assert "subPath" not in mount
    assert written
    assert written <= live
    assert [] == [each for each in written if f"DRAGOMAN_{each.upper()}" in overlay.settings]


def test_model_volume() -> None:
    """
    Bundles are looked for where the volume is mounted, which the server only reads.
    """
    overlay = rendered("model-volume")
    [volume] = [item for item in overlay.pod["spec"]["volumes"] if "persistentVolumeClaim" in item]
    [mount] = [item for item in overlay.container["volumeMounts"] if item["name"] == volume["name"]]

    assert mount["mountPath"] == overlay.settings["DRAGOMAN_BUNDLE"]
    assert mount["readOnly"] is True
    claim = overlay.one("PersistentVolumeClaim")["metadata"]["name"]
    assert claim == volume["persistentVolumeClaim"]["claimName"]


def test_components_are_used() -> None:
    """
    Production uses every component but models from a volume and the proxy, and each component says what it needs.
    """
    folders = {folder.name for folder in (DEPLOY / "components").iterdir()}
    used = {path.rpartition("/")[2] for path in read("overlays/production/kustomization.yaml")["components"]}

    assert {"model-volume", "edge-proxy"} == folders - used
    for folder in folders:
        assert "Needs" in (DEPLOY / "components" / folder / "README.md").read_text("utf-8")
