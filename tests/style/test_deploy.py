"""What stands in deploy/ can be used: configs load, units verify, YAML parses, and they fit each other and the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pyredis_cluster.node.config import Config

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CONFIGS = sorted((DEPLOY / "conf").glob("*.conf"))
UNIT = DEPLOY / "systemd" / "pyredis-node@.service"
KUBERNETES = DEPLOY / "kubernetes" / "pyredis-cluster.yaml"
NODES = 6


def load_yaml(path: Path) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return [*yaml.safe_load_all(path.read_text())]


def by_kind(kind: str) -> Any:
    (found,) = [document for document in load_yaml(KUBERNETES) if document["kind"] == kind]
    return found


def loaded(text: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The configuration as the node reads it, with a directory that is there."""
    path = home / "redis.conf"
    path.write_text(re.sub(r"(?m)^dir .*$", f"dir {home}", text))
    monkeypatch.chdir(home)
    config = Config()
    config.load_file(path)
    return config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_sample_configs_are_accepted_by_the_node(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded(path.read_text(), tmp_path, monkeypatch)
    assert config.cluster_enabled is (path.name != "standalone.conf")


def test_the_kubernetes_config_is_accepted_by_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded(by_kind("ConfigMap")["data"]["redis.conf"], tmp_path, monkeypatch)
    assert config.cluster_enabled
    assert Path(config.cluster_secret_file).name == "cluster-secret"


def test_the_stateful_set_and_its_service_fit_each_other() -> None:
    stateful, service = by_kind("StatefulSet"), by_kind("Service")
    pod = stateful["spec"]["template"]
    assert service["spec"]["clusterIP"] == "None"
    assert stateful["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (node,) = pod["spec"]["containers"]
    ports = {(port["containerPort"], port["protocol"]) for port in node["ports"]}
    assert ports == {(port["port"], port["protocol"]) for port in service["spec"]["ports"]}
    assert ports == {(6379, "TCP"), (16379, "TCP"), (16379, "UDP")}
    mounted = {mount["name"] for mount in node["volumeMounts"]}
    claimed = {claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]} | claimed
    (create,) = by_kind("Job")["spec"]["template"]["spec"]["containers"]
    name = stateful["metadata"]["name"]
    assert stateful["spec"]["replicas"] == NODES
    assert create["command"][-NODES:] == [f"{name}-{number}.{name}:6379" for number in range(NODES)]


def test_images_have_the_projects_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert set(re.findall(r"image: pyredis-cluster:(\S+)", KUBERNETES.read_text())) == {version}


def test_the_compose_file_creates_a_cluster_of_all_its_nodes() -> None:
    (compose,) = load_yaml(DEPLOY / "compose.yaml")
    services = compose["services"]
    nodes = {name: service for name, service in services.items() if name.startswith("node-")}
    addresses = [f"{node['networks']['cluster']['ipv4_address']}:6379" for node in nodes.values()]
    assert len(nodes) == NODES
    assert services["create"]["command"][-NODES:] == addresses
    assert set(services["create"]["depends_on"]) == set(nodes)
    assert {volume for node in nodes.values() for volume in node["volumes"]} == {
        f"{name}:/data" for name in compose["volumes"]
    }


def test_what_the_image_copies_is_there() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    missing = [name for names in copies for name in names if not (ROOT / name).exists()]
    assert copies
    assert not missing


def test_the_systemd_unit_verifies(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    program = Path(sys.executable).with_name("pyredis-node")
    unit = tmp_path / "pyredis-node@7000.service"
    unit.write_text(UNIT.read_text().replace("/opt/pyredis/bin/pyredis-node", str(program)))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(unit) not in done.stderr


def test_the_health_check_answers_for_a_node_and_not_for_none() -> None:
    closed_port = "1"
    done = subprocess.run([sys.executable, str(DEPLOY / "ping.py"), closed_port], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
