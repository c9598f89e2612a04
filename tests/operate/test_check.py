"""What `gateway check` finds beyond the errors that stop `run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import ExitCode
from gateway.operate.check import check

if TYPE_CHECKING:
    from tests.stack.certificates import Certificates

ROOT = Path(__file__).parents[2]


def test_check_warns_of_certificates_that_are_not_valid_now(tmp_path: Path, certificates: Certificates) -> None:
    """`run` starts with them: they may be renewed while it runs, or the clock may be set later."""
    tls = {"ca_file": str(certificates.certificate("not-yet")), "cert_file": str(certificates.certificate("expired"))}
    tls["key_file"] = str(certificates.key("expired"))
    path = tmp_path / "gateway.yaml"
    servers = {"meterBroker": {"tls": tls}, "kafka": {"registry": {"ca_file": str(certificates.ca)}}}
    path.write_text(json.dumps({"contract": str(ROOT / "asyncapi.yaml"), "servers": servers}))
    result = check(path, path, {})
    assert result.exit_code == ExitCode.SUCCESS
    assert [(one.path, one.message, one.severity) for one in result.findings if ".tls." in one.path] == [
        ("servers.meterBroker.tls.ca_file", "A certificate in this file: not valid before 2040-01-01.", "warning"),
        ("servers.meterBroker.tls.cert_file", "A certificate in this file: expired on 2020-01-31.", "warning"),
    ]


def test_check_says_which_guarantee_each_stream_has(tmp_path: Path) -> None:
    """It depends on the mode of delivery and on the QoS of the subscription."""
    path = tmp_path / "gateway.yaml"
    settings = {"contract": str(ROOT / "asyncapi.yaml"), "streams": {"receiveDoors": {"qos": 0}}}
    path.write_text(json.dumps(settings | {"delivery": "exactly_once"}))
    result = check(path, path, {})
    found = {one.name: (one.qos, one.guarantee) for one in result.streams}
    assert found.pop("receiveDoors") == (0, "at_most_once")
    assert set(found.values()) == {(1, "exactly_once")}
    assert "compiled, at most once at QoS 0" in result.outcome()
    assert "compiled, exactly once at QoS 1" in result.outcome()
    path.write_text(json.dumps(settings))
    doors = [one for one in check(path, path, {}).streams if one.name == "receiveDoors"]
    assert [(one.guarantee, str(one).endswith("may be lost at QoS 0")) for one in doors] == [("none", True)]
