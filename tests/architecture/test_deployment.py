"""Registry, settings, compose and the rendered manifests say the same; every pod is confined, pinned and ends in time."""

from __future__ import annotations

import functools
import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from borgfleet.accounts import USERS, variable
from borgfleet.registry import SERVICES
from shared.bus.port import durable_name
from shared.config.settings import Settings, WorkerSettings
from shared.events.server import ServerSetup
from shared.events.stats import StatsCollect
from shared.events.streams import JOBS
from tests.harness.nats_server import newest_server

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("small", "ha")
OPTIONAL = ("prometheus-operator", "keda", "ingress", "accounts")
"""Components that an overlay leaves to who applies it; `tls` is part of `ha`."""
OLDEST, NEWEST = "1.29", "1.37"
CUSTOM = {
    "PodMonitor": {"selector", "podMetricsEndpoints"}, "PrometheusRule": {"groups"},
    "ScaledObject": {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "fallback", "triggers"},
    "Certificate": {
        "secretName", "duration", "renewBefore", "privateKey", "usages", "dnsNames", "issuerRef", "isCA", "commonName",
    }, "Issuer": {"selfSigned", "ca"},
}  # fmt: skip
"""Kinds of which Kubernetes itself has no schema, and the fields of theirs that we use."""
PRESTOP, BESIDES = 5, 15 + 10
"""Seconds beside `worker.grace`: relay, bus and database 5 each, and some to spare."""


@pytest.fixture(scope="session", params=[*OVERLAYS, "ha with every component"])
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    name = str(request.param)
    if name in OVERLAYS:
        return rendered(ROOT / "k8s/overlays" / name)
    # Kustomize takes no absolute paths and nothing from outside of where it is called.
    copy = tmp_path_factory.mktemp("k8s") / "k8s"
    shutil.copytree(ROOT / "k8s", copy)
    whole = copy / "overlays/whole"
    whole.mkdir()
    kinds = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["../ha"]}
    components = [f"../../components/{one}" for one in OPTIONAL]
    (whole / "kustomization.yaml").write_text(
        yaml.safe_dump(kinds | {"namespace": "borgfleet", "components": components})
    )
    return rendered(whole)


def missing(tool: str, remedy: str) -> NoReturn:
    """Skip what needs a tool on a developer's machine; scripts/test puts all of them there, and CI fails without."""
    if os.environ.get("CI"):
        pytest.fail(f"no {tool}: {remedy}")
    pytest.skip(f"no {tool}: {remedy}")


def validator() -> Any:
    try:
        return importlib.import_module("kubernetes_validate")
    except ModuleNotFoundError:
        missing("kubernetes-validate", "install the locked development packages")


@functools.cache
def rendered(directory: Path) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl", path=str(ROOT / ".venv-tools/bin")) or shutil.which("kubectl")
    if kubectl is None:
        missing("kubectl", "run scripts/kubectl")
    done = subprocess.run([kubectl, "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(manifests: list[dict[str, Any]], *kinds: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] in kinds}


def pods(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = of_kind(manifests, "Deployment", "StatefulSet", "Job")
    return {name: one["spec"]["template"] for name, one in found.items()}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def services(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: pod for name, pod in pods(manifests).items() if name in SERVICES}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_no_field_is_misspelt(manifests: list[dict[str, Any]], version: str) -> None:
    kubernetes_validate = validator()
    for one in manifests:
        if one["kind"] in CUSTOM:
            assert set(one["spec"]) <= CUSTOM[one["kind"]], one["metadata"]["name"]
        else:
            kubernetes_validate.validate(one, version, strict=True)


def test_a_misspelt_field_would_be_seen(manifests: list[dict[str, Any]]) -> None:
    kubernetes_validate = validator()
    bad = {**of_kind(manifests, "PodDisruptionBudget")["api"], "spec": {"maxUnavailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(bad, NEWEST, strict=True)


def test_every_service_runs_and_nothing_else_of_ours(manifests: list[dict[str, Any]]) -> None:
    run = {
        container["args"][2] for pod in pods(manifests).values() for container in containers(pod)
        if container.get("args", [])[:2] == ["borgfleet", "run"]
    }  # fmt: skip
    assert run == set(SERVICES)


def test_every_variable_is_a_setting(manifests: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    maps = of_kind(manifests, "ConfigMap")
    for name, pod in services(manifests).items():
        (container,) = pod["spec"]["containers"]
        given = dict(maps[container["envFrom"][0]["configMapRef"]["name"]]["data"])
        given |= {one["name"]: one.get("value", "x") for one in container.get("env", []) if one["name"] != "POD_NAME"}
        with monkeypatch.context() as environment:
            for key, value in given.items():
                environment.setenv(key, value.replace("$(POD_NAME)", "backup-0"))
            settings = Settings()
        assert {key for key in given if not key.startswith("BORGFLEET_")} == set(), name
        port = container["ports"][[one["name"] for one in container["ports"]].index("health")]["containerPort"]
        assert (settings.health.port, settings.health.host) == (port, "0.0.0.0"), name  # noqa: S104 - what is looked for
        mounts = [one["mountPath"] for one in container["volumeMounts"]]
        secrets = (
            settings.master_key_file, settings.database.password_file, settings.nats.token_file, settings.nats.key_file,
        )  # fmt: skip
        for file in filter(None, secrets):
            assert str(file.parent) in mounts, (name, file)


def test_each_service_has_a_secret_of_its_own_that_only_its_user_reads(manifests: list[dict[str, Any]]) -> None:
    for name, pod in pods(manifests).items():
        own = [volume["secret"] for volume in pod["spec"]["volumes"] if volume["name"] == "secrets"]
        # nats-server has none where it knows its users by their public keys.
        wanted = [] if name == "nats" and "envFrom" in pod["spec"]["containers"][0] else [name]
        assert [one["secretName"] for one in own] == [f"borgfleet-{re.sub(r'-[0-9-]+$', '', one)}" for one in wanted]
        for volume in pod["spec"]["volumes"]:
            assert volume.get("secret", {}).get("defaultMode", 0o440) == 0o440, name


def test_a_service_waits_for_migrate_with_all_that_it_has_itself(manifests: list[dict[str, Any]]) -> None:
    for name, pod in services(manifests).items():
        (service,) = pod["spec"]["containers"]
        (wait,) = (one for one in containers(pod) if one["name"] == "wait")
        assert (wait["args"], wait["image"]) == (["borgfleet", "wait"], service["image"]), name
        assert wait["envFrom"] == service["envFrom"], name
        secret = {"/run/secrets/borgfleet", "/run/secrets/tls"}
        assert {one["mountPath"] for one in wait["volumeMounts"]} & secret == {
            one["mountPath"] for one in service["volumeMounts"]
        } & secret, name
    (migrate,) = (pod for name, pod in pods(manifests).items() if name.startswith("migrate"))
    assert "initContainers" not in migrate["spec"], "it would wait for itself"


def test_probes_ask_what_they_should(manifests: list[dict[str, Any]]) -> None:
    for name, pod in services(manifests).items():
        (container,) = pod["spec"]["containers"]
        asked = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
        assert asked == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}, name
        assert container["readinessProbe"]["timeoutSeconds"] >= 5, name  # /readyz itself takes up to 3 s


def test_nobody_is_killed_before_running_work_has_ended(manifests: list[dict[str, Any]]) -> None:
    for name, pod in services(manifests).items():
        assert pod["spec"]["terminationGracePeriodSeconds"] >= WorkerSettings().grace + BESIDES + PRESTOP, name


def test_every_pod_meets_the_restricted_profile(manifests: list[dict[str, Any]]) -> None:
    for name, pod in pods(manifests).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume], name
        for container in containers(pod):
            context = container["securityContext"]
            assert context == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }, (name, container["name"])  # fmt: skip
            assert container["resources"]["limits"]["memory"], name
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}, name
            assert "cpu" not in container["resources"]["limits"], f"{name}: throttled heartbeats lose leases"


def images(manifests: list[dict[str, Any]]) -> Iterator[str]:
    for pod in pods(manifests).values():
        yield from (container["image"] for container in containers(pod))


def test_every_image_is_pinned_and_ours_is_of_this_version(manifests: list[dict[str, Any]]) -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    for image in images(manifests):
        assert re.search(r"(:\d+\.\d+\.\d+(-[a-z]+)?|@sha256:[0-9a-f]{64})$", image), image
        assert image.partition(":")[0] != "borgfleet" or image == f"borgfleet:{version[1]}"
    assert f"migrate-{version[1].replace('.', '-')}" in pods(manifests)


def selects(selector: dict[str, Any], pod: dict[str, Any]) -> bool:
    return selector.get("matchLabels", {}).items() <= pod["metadata"]["labels"].items()


def test_nothing_speaks_but_what_a_policy_lets(manifests: list[dict[str, Any]]) -> None:
    policies = of_kind(manifests, "NetworkPolicy")
    assert policies["deny-all"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    reach = {
        name for name, pod in pods(manifests).items() if selects(policies["servers"]["spec"]["podSelector"], pod)
    }  # fmt: skip
    assert reach == {"backup", "setup", "stats"}
    clients = policies["bus-clients"]["spec"]["podSelector"]
    needed = {*SERVICES, *(name for name in pods(manifests) if name.startswith("migrate"))}
    assert {name for name, pod in pods(manifests).items() if selects(clients, pod)} == needed


def test_a_drain_takes_one_pod_of_each_at_a_time(manifests: list[dict[str, Any]]) -> None:
    budgets = of_kind(manifests, "PodDisruptionBudget")
    assert set(budgets) == {name for name in pods(manifests) if not name.startswith("migrate")}
    for name, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1, name
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", name
        assert selects(budget["spec"]["selector"], pods(manifests)[name]), name


def test_every_selector_finds_its_pods(manifests: list[dict[str, Any]]) -> None:
    for name, service in of_kind(manifests, "Service").items():
        selector = dict(service["spec"]["selector"])
        pod_name = selector.pop("statefulset.kubernetes.io/pod-name", "")
        found = [one for one, pod in pods(manifests).items() if selects({"matchLabels": selector}, pod)]
        assert len(found) == 1, name
        ports = {port for container in containers(pods(manifests)[found[0]]) for one in container.get("ports", [])
                 for port in (one["containerPort"], one["name"])}  # fmt: skip
        for port in service["spec"]["ports"]:
            assert port.get("targetPort", port["port"]) in ports, name
        replicas = of_kind(manifests, "StatefulSet").get(found[0], {}).get("spec", {}).get("replicas", 0)
        assert not pod_name or int(pod_name.rpartition("-")[2]) < replicas, name


def test_every_backup_node_has_its_endpoint_and_keeps_its_volumes(manifests: list[dict[str, Any]]) -> None:
    backup = of_kind(manifests, "StatefulSet")["backup"]["spec"]
    ends = {one["spec"]["selector"].get("statefulset.kubernetes.io/pod-name")
            for one in of_kind(manifests, "Service").values()} - {None}  # fmt: skip
    assert ends == {f"backup-{number}" for number in range(backup["replicas"])}
    assert backup["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    sidecar, service = (one for one in containers(backup["template"]) if one["name"] in {"sshd", "borgfleet"})
    assert (sidecar["restartPolicy"], backup["template"]["spec"]["shareProcessNamespace"]) == ("Always", True)
    kept = {"/var/lib/borgfleet", "/opt/backups"}
    assert kept <= {one["mountPath"] for one in sidecar["volumeMounts"]}
    assert kept <= {one["mountPath"] for one in service["volumeMounts"]}


def test_nats_is_asked_for_what_it_is_by_now(manifests: list[dict[str, Any]]) -> None:
    (nats,) = pods(manifests)["nats"]["spec"]["containers"]
    assert nats["livenessProbe"]["httpGet"]["path"] == "/healthz?js-enabled-only=true"
    assert nats["readinessProbe"]["httpGet"]["path"] == "/healthz?js-server-only=true"
    (config,) = (one["data"] for name, one in of_kind(manifests, "ConfigMap").items() if name.startswith("nats"))
    assert "sync_interval: always" in config["nats.conf"]
    replicas = of_kind(manifests, "StatefulSet")["nats"]["spec"]["replicas"]
    assert ("routes" in config["cluster.conf"]) == (replicas > 1)
    assert replicas == 1 or "verify: true" in config["cluster-tls.conf"], "routes in the clear"


def test_nats_server_takes_the_configuration(manifests: list[dict[str, Any]], tmp_path: Path) -> None:
    """For real, but with files where the Secret will be."""
    from tests.harness.authority import Authority

    (config,) = (one["data"] for name, one in of_kind(manifests, "ConfigMap").items() if name.startswith("nats"))
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("nats")
    paths = {"ca.crt": authority.file, "tls.crt": pair.cert, "tls.key": pair.key}
    for name, text in config.items():
        made = text
        for secret, path in paths.items():
            made = made.replace(f"/run/secrets/tls/{secret}", str(path))
        (tmp_path / name).write_text(made.replace('"/data"', f'"{tmp_path}"'))
    done = subprocess.run(
        [newest_server(), "-t", "-c", str(tmp_path / "nats.conf")],
        env={"NATS_TOKEN": "x", "POD_NAME": "nats-0", **{variable(user): public_key(user) for user in USERS}},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def public_key(user: str) -> str:
    nkeys = pytest.importorskip("nkeys") if not os.environ.get("CI") else importlib.import_module("nkeys")
    seed = nkeys.encode_seed(user.ljust(32).encode(), nkeys.PREFIX_BYTE_USER)
    return bytes(nkeys.from_seed(seed).public_key).decode()


def test_every_service_logs_in_as_the_user_that_has_its_rights(manifests: list[dict[str, Any]]) -> None:
    """With the component `accounts`, and in compose with its override: the seed is the service's own."""
    (settings,) = (one["data"] for name, one in of_kind(manifests, "ConfigMap").items() if name.startswith("borgfleet"))
    (nats,) = pods(manifests)["nats"]["spec"]["containers"]
    asks_for_keys = [one["configMapRef"]["name"] for one in nats.get("envFrom", [])]
    if "BORGFLEET_NATS__NKEY_SEED_FILE" not in settings:
        assert asks_for_keys == []
        return
    assert asks_for_keys == ["borgfleet-nats-keys"]
    (config,) = (one["data"] for name, one in of_kind(manifests, "ConfigMap").items() if name.startswith("nats"))
    assert set(re.findall(r"nkey: \$(\w+)", config["auth.conf"])) == {variable(user) for user in USERS}
    assert "token" not in config["auth.conf"]


def test_compose_gives_each_service_its_own_seed() -> None:
    override = yaml.safe_load((ROOT / "compose.accounts.yml").read_text())
    wanted = {container: one["command"][-1 if "migrate" in one["command"] else 2] for container, one in STACK.items()
              if (one.get("command") or [""])[0] == "borgfleet"}  # fmt: skip
    given = {name: one["secrets"][0]["source"] for name, one in override["services"].items() if name != "nats"}
    assert given == {container: f"nats_seed_{name}" for container, name in wanted.items()}
    for name, one in override["services"].items():
        assert name == "nats" or one["environment"]["BORGFLEET_NATS__NKEY_SEED_FILE"] == "/run/secrets/nats_seed"
    assert {f"nats_seed_{name}" for name in wanted.values()} == set(override["secrets"])


def test_workers_scale_by_consumers_that_exist(manifests: list[dict[str, Any]]) -> None:
    scaled = of_kind(manifests, "ScaledObject")
    found = {name: one["spec"]["triggers"][0]["metadata"] for name, one in scaled.items()}
    wanted = {"setup": ServerSetup.subject, "stats": StatsCollect.subject}
    assert {name: one["consumer"] for name, one in found.items()} in (
        {}, {name: durable_name(subject) for name, subject in wanted.items()},
    )  # fmt: skip
    assert all(one["stream"] == JOBS.name for one in found.values())
    for name in scaled:
        assert "replicas" not in of_kind(manifests, "Deployment")[name]["spec"], "two would decide how many"


def test_the_operators_rules_are_those_that_promtool_tests() -> None:
    rule = yaml.safe_load((ROOT / "k8s/components/prometheus-operator/rules.yaml").read_text())
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/rules/borgfleet.yml").read_text())


COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
STACK: dict[str, dict[str, Any]] = COMPOSE["services"]


def running() -> dict[str, dict[str, Any]]:
    """The containers that run a service of ours, by its name."""
    return {
        one["command"][2]: one for one in STACK.values() if (one.get("command") or [""])[:2] == ["borgfleet", "run"]
    }


def test_compose_runs_every_service_with_settings_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(running()) == set(SERVICES)
    for name, one in running().items():
        with monkeypatch.context() as environment:
            for key, value in one["environment"].items():
                environment.setenv(key, re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)))
            settings = Settings()
        given = [settings.master_key_file, settings.database.password_file, settings.nats.token_file]
        assert {str(file) for file in given} == {f"/run/secrets/{secret}" for secret in one["secrets"]}, name


def test_compose_kills_nobody_before_running_work_has_ended() -> None:
    for name, one in running().items():
        assert int(one["stop_grace_period"].removesuffix("s")) >= WorkerSettings().grace + 3 * 5 + 15, name
    assert int(STACK["mariadb"]["stop_grace_period"].removesuffix("s")) >= 120


@pytest.mark.parametrize("name", STACK)
def test_every_container_is_confined_and_bounded(name: str) -> None:
    one = STACK[name]
    assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert one["mem_limit"]
    assert one["pids_limit"]
    assert one["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert "privileged" not in one
    assert re.search(r":v?\d+\.\d+\.\d+(-[a-z]+)?$", one["image"]), one["image"]


def test_bus_and_database_have_no_way_out_and_nobody_from_outside_in() -> None:
    assert COMPOSE["networks"]["back"] == {"internal": True}
    for name in ("nats", "mariadb"):
        assert (STACK[name]["networks"], STACK[name].get("ports", [])) == (["back"], []), name


def test_the_overrides_of_compose_name_what_is_there() -> None:
    class Loader(yaml.SafeLoader):
        """Takes compose's own tags."""

    Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))
    for file in sorted(ROOT.glob("compose.*.yml")):
        for name, one in yaml.load(file.read_text(), Loader)["services"].items():  # noqa: S506 - a safe one
            assert one.get("extends", {}).get("service", name) in STACK, (file.name, name)
