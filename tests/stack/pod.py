"""A pod of deploy/kubernetes as a process: its arguments, variables and volumes, laid out as the kubelet does.

There is no cluster here. What the manifests say is taken word for word; only paths are moved below a folder of the
pod's own, and addresses that a test cannot have are overridden by variables of the test's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from tests.stack.gateway import ROOT, Gateway

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFESTS = ROOT / "deploy" / "kubernetes"
CONFIG_MAP_MODE = 0o644  # Kubernetes's own default


def manifest(name: str) -> dict[str, Any]:
    """Read one manifest."""
    found = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def config_map() -> dict[str, Path]:
    """Tell the files of the config map that kustomize generates, by key."""
    (generator,) = manifest("kustomization")["configMapGenerator"]
    return {Path(file).name: MANIFESTS / file for file in generator["files"]}


class Pod(Gateway):
    """One pod of the StatefulSet.

    Args:
        number: its ordinal.
        secrets: content by key.
        variables: of the test's own, after the manifest's.
        address: host and port of its HTTP server, in place of the pod's own address.
        secret_mode: of the secrets' files; None for the manifest's.
    """

    def __init__(
        self,
        number: int,
        secrets: Mapping[str, bytes],
        variables: Mapping[str, str],
        address: tuple[str, int],
        secret_mode: int | None = None,
    ) -> None:
        super().__init__({})
        self.host, self.port = address
        self._number = number
        spec = manifest("statefulset")["spec"]["template"]["spec"]
        (self._container,) = spec["containers"]
        self._mounts = [mount["mountPath"] for mount in self._container["volumeMounts"]]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in self._container["volumeMounts"]:
            volume = volumes.get(mount["name"], {})
            if "configMap" in volume:
                items = {item["path"]: config_map()[item["key"]].read_bytes() for item in volume["configMap"]["items"]}
                self._lay(mount["mountPath"], items, CONFIG_MAP_MODE)
            elif "secret" in volume:
                self._lay(mount["mountPath"], secrets, secret_mode or volume["secret"]["defaultMode"])
            else:  # the volume of the claim
                Path(self._moved(mount["mountPath"])).mkdir(parents=True)
        self._variables = self._given_variables() | dict(variables)

    def start(self, *, ready: bool = True) -> Self:
        """Start the container's process and wait for the probe that Kubernetes would wait for."""
        arguments = [self._moved(self._expanded(argument)) for argument in self._container["args"]]
        self.launch_command(*arguments, **self._variables)
        probe = self._container["readinessProbe" if ready else "startupProbe"]["httpGet"]["path"]
        self.wait_ready(lambda: self.get(probe)[0] == 200, 60)
        return self

    def _given_variables(self) -> dict[str, str]:
        from_labels = {"metadata.labels['apps.kubernetes.io/pod-index']": str(self._number)}
        return {
            given["name"]: self._moved(given["value"])
            if "value" in given
            else from_labels[given["valueFrom"]["fieldRef"]["fieldPath"]]
            for given in self._container["env"]
        }

    def _expanded(self, text: str) -> str:
        return re.sub(r"\$\((\w+)\)", lambda match: self._variables[match[1]], text)

    def _moved(self, text: str) -> str:
        for mount in self._mounts:
            text = re.sub(rf"^{mount}(?=/|$)", f"{self.folder}{mount}", text)
        return text

    def _lay(self, mount: str, files: Mapping[str, bytes], mode: int) -> None:
        """Write a volume as the kubelet does: a folder with a date, a link to it, and a link to each of its files."""
        top = Path(self._moved(mount))
        for name, content in files.items():
            path = top / "..2026_11_21" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        (top / "..data").symlink_to("..2026_11_21")
        for name in {Path(name).parts[0] for name in files}:
            (top / name).symlink_to(f"..data/{name}")
