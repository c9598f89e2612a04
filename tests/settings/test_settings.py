"""gateway.yaml: valid and invalid values, the words of errors, and the environment's overrides."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.address import Address
from gateway.core.model import Contract, KafkaServer, MqttServer, Stream
from gateway.documents import yaml_file
from gateway.documents.source import Source, dotted, explain, pointer
from gateway.errors import ConfigurationError, Finding
from gateway.settings.consistency import check_consistency
from gateway.settings.producer_properties import take_linger
from gateway.settings.settings import Settings, load
from gateway.settings.values import is_local, parse_duration, parse_size, split_hosts
from tests.fixes import PYTHON, apply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stack.certificates import Certificates

EXAMPLE = Path(__file__).parents[2] / "deploy" / "gateway.yaml"
SECRET = "canary-5f0c"
ALWAYS = "The gateway sets it, because a reading is acknowledged only when it is stored safely. Remove it."
BOOLEANS = "Write true or false; in YAML 1.2 on, off, yes and no are text."
PROSE = frozenset(
    {  # fixes that quote nothing to copy
        "Add `client_id:` with its value.",
        "Add `mechanism:` with its value.",
        "Add `oauth:` with its value.",
        "Add aws_region.",
        "Add password_file.",
        "Remove it: TLS always verifies the server's certificate. Name the file of its CA in ca_file.",
        "Remove it: the contract has it, in `bindings` of the server.",
        "Remove it: write host: NAME:PORT.",
        "Remove it; write registry: {url: URL} beside producer.",
        "Remove it; write sasl: {mechanism: OAUTHBEARER, oauth: {aws_region: REGION}} beside producer.",
        "Remove it; write sasl: {mechanism: SCRAM-SHA-512, username: NAME, password_file: FILE} beside producer.",
        "Remove one of them.",
        "Correct it.",
        "Remove scheme, user and path; the contract defines the protocol.",
        "See the producer's properties in librdkafka's CONFIGURATION.md.",
        "Write indented `key: value` lines below it.",
        "Write it in digits, without quotes.",
        "Write one of these.",
        "Write the path of the file.",
        BOOLEANS,
    }
)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "gateway.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_secret(folder: Path, name: str, content: str = f"{SECRET}\n", mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(content)
    path.chmod(mode)
    return path


def read(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> Settings:
    return load(write(folder, text), environ or {})


def refuse(folder: Path, text: str | bytes, environ: Mapping[str, str] | None = None) -> list[Finding]:
    with pytest.raises(ConfigurationError) as raised:
        read(folder, text, environ)
    assert raised.value.exit_code == 78
    return list(raised.value.findings)


def texts(findings: list[Finding]) -> list[str]:
    return [f"{finding.line} {finding.path}: {finding.message} {finding.fix}".rstrip() for finding in findings]


# --- the example -----------------------------------------------------------------------------------------------------


@pytest.fixture
def example(tmp_path: Path, certificates: Certificates) -> Path:
    shutil.copy(certificates.ca, tmp_path / "ca.pem")
    shutil.copy(certificates.certificate("client"), tmp_path / "gateway.pem")
    shutil.copy(certificates.key("client"), tmp_path / "gateway.key")
    for name in ("mqtt-password", "kafka-password", "registry-password"):
        write_secret(tmp_path, name)
    return Path(shutil.copy(EXAMPLE, tmp_path / "gateway.yaml"))


def test_load_of_the_example_gives_what_it_says(example: Path) -> None:
    settings = load(example, {})
    assert settings.servers["kafka"].host == "kafka.example:9093"
    assert settings.servers["kafka"].producer == {"linger.ms": 5, "compression.type": "lz4"}
    assert settings.servers["kafka"].registry.register is True
    assert settings.secret("kafka-password").get_secret_value() == SECRET


def test_the_example_shows_the_defaults(example: Path) -> None:
    """Every section with defaults is in the example with exactly these."""
    settings, defaults = load(example, {}), Settings(contract="asyncapi.yaml")
    for section in ("spool", "http", "log", "mqtt"):
        assert getattr(settings, section) == getattr(defaults, section)
        assert getattr(settings, section).model_fields_set == set(type(getattr(settings, section)).model_fields)


def test_the_example_names_every_setting() -> None:
    """The example is the reference, so each setting has a line."""
    text = EXAMPLE.read_text()
    shapes = [Settings.model_json_schema(), *Settings.model_json_schema()["$defs"].values()]
    missing = [name for shape in shapes for name in shape["properties"] if f"{name}:" not in text]
    assert missing == []


def test_load_of_the_shape_promised_in_the_first_release(tmp_path: Path) -> None:
    write_secret(tmp_path, "mqtt-password")
    settings = read(
        tmp_path,
        "contract: asyncapi.yaml\nservers:\n"
        "  meterBroker: {host: localhost:1883, username: gateway, password_file: mqtt-password}\nstreams: {}\n"
        "spool: {path: spool.db, when: outage, after: 5s, memory: 32MiB, limit: 2GiB, on_full: block}\n"
        "http: {listen: 127.0.0.1:9464}\nlog: {level: info, format: text}\n",
    )
    assert (settings.spool.after, settings.spool.memory, settings.spool.limit) == (5.0, 32 * 2**20, 2 * 2**30)
    assert settings.resolve("spool.db") == tmp_path / "spool.db"
    assert settings.resolve("/var/lib/spool.db") == Path("/var/lib/spool.db")


def test_load_of_sections_without_lines_gives_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path, "contract: a.yaml\nservers:\n  kafka:\nspool:\nhttp:\nlog:\nmqtt:\nstreams:\n  doors:\n")
    assert settings.spool == Settings(contract="a.yaml").spool
    assert settings.streams["doors"].enabled
    assert settings.server("kafka").receive_maximum is None
    assert settings.server("other").registry.register


@pytest.mark.parametrize("off", ["off", "null", '"off"'])
def test_load_with_http_off(tmp_path: Path, off: str) -> None:
    assert read(tmp_path, f"contract: a.yaml\nhttp: {{listen: {off}}}\n").http.listen is None


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = read(tmp_path, "contract: a.yaml\n")
    with pytest.raises(ValueError, match="frozen"):
        settings.contract = "b.yaml"


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("250ms", 0.25), ("1h", 3_600), ("2d", 172_800), ("10m", 600), (7, 7), ("1.5s", 1.5)],
)
def test_parse_duration(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("32MiB", 2**25), ("2GB", 2 * 10**9), ("512KiB", 2**19), (1_000, 1_000), ("1.5GiB", 3 * 2**29), ("1tib", 2**40)],
)
def test_parse_size(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "5 min", "-1s", "1e3s", "s", "\uff15s", "5s\n", True, None, [], float("nan"), "9" * 99]
)
def test_parse_duration_of_anything_else(text: object) -> None:
    with pytest.raises(ValueError, match="Expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "0", 0, -1, "1.5B", "1MiBs", "32 megabytes", False, None, {}, 2**63])
def test_parse_size_of_anything_else(text: object) -> None:
    with pytest.raises(ValueError, match="Expected a size"):
        parse_size(text)


def test_split_hosts() -> None:
    assert split_hosts("a.example:9092, [::1]:9093,b") == [("a.example", 9092), ("::1", 9093), ("b", None)]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "127.0.0.9",
        "::1",
        "10.1.2.3",
        "172.31.0.1",
        "192.168.1.1",
        "fd00::1",
        "fe80::1%eth0",
        "mosquitto",
        "pi.local",
        "nas.lan",
        "kafka.internal",
        "mosquitto.plant.svc",
        "::ffff:10.0.0.1",
    ],
)
def test_is_local_of_this_machine_and_its_network(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "172.32.0.1", "mqtt.example", "localhost.example", "134744072", "0x08080808", "2001:4860::8"]
)
def test_is_local_of_anything_else(host: str) -> None:
    assert not is_local(host)


# --- findings --------------------------------------------------------------------------------------------------------


def test_load_reports_everything_at_once_with_lines(tmp_path: Path) -> None:
    findings = refuse(
        tmp_path,
        "contrct: a.yaml\n"  # 1
        "spool:\n"  # 2
        "  limit: much\n"  # 3
        "  when: outages\n"  # 4
        "  lmit: 1\n"  # 5
        "servers:\n"  # 6
        "  kafka:\n"  # 7
        "    hots: a:1\n"  # 8
        "    sasl: {mechanism: SCRAM-SHA-512, username: g, password_file: gone}\n"  # 9
        "    producer: {acks: 1}\n"  # 10
        "  kafka:\n"  # 11
        "streams: {doors: {qos: 3, enabled: on}}\n",  # 12
    )
    assert texts(findings) == [
        "0 contract: This setting is missing. Add `contract:` with its value.",
        "1 contrct: There is no such setting. Did you mean 'contract'?",
        "3 spool.limit: Expected a size. Write a number with a unit, such as 512KiB, 32MiB or 2GiB.",
        "4 spool.when: Expected 'outage' or 'always'. Did you mean 'outage'?",
        "5 spool.lmit: There is no such setting. Did you mean 'limit'?",
        "8 servers.kafka.hots: There is no such setting. Did you mean 'host'?",
        f"9 servers.kafka.sasl.password_file: The file {tmp_path}/gone does not exist. Create it.",
        "10 servers.kafka.producer.acks: This property would break a guarantee. " + ALWAYS,
        "11 servers.kafka: The key is repeated; it is first on line 7. Remove one of them.",
        "12 streams.doors.enabled: Expected true or false. " + BOOLEANS,
        "12 streams.doors.qos: Expected a QoS. Write 0, 1 or 2.",
    ]
    assert {finding.source for finding in findings} == {str(tmp_path / "gateway.yaml")}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("log: {level: INFO}", "Did you mean 'info'?"),
        ("log: {levl: info}", "Did you mean 'level'?"),
        ("log: loud", "Expected a section."),
        ("servers: [kafka]", "Expected a section."),
        ("servers: {kafka: {username: 012}, x: 1}", "Expected a section."),
        ("servers: {kafka: {username: 12}}", "Put quotes around it."),
        ("servers: {kafka: {host: 'mqtt://a:1'}}", "Remove scheme"),
        ("servers: {kafka: {host: 'a:99999'}}", "Expected a host"),
        ("servers: {kafka: {host: 12:30:45}}", "Expected a host"),
        ("servers: {kafka: {receive_maximum: 0}}", "from 1 to 65535"),
        ("servers: {kafka: {receive_maximum: 0100}}", "a whole number"),
        ("servers: {kafka: {registry: {url: registry.example}}}", "Expected an http or https URL"),
        ("servers: {kafka: {registry: {url: 'https://r.example:x'}}}", "Expected an http or https URL"),
        ("servers: {kafka: {producer: {linger.ms: [5]}}}", "text, a number, true or false"),
        ("servers: {kafka: {producer: {linger.ms: fast}}}", "Expected a number of milliseconds"),
        ("servers: {kafka: {producer: {queue.buffering.max.ms: '0x10'}}}", "Expected a number of milliseconds"),
        ("servers: {kafka: {producer: {linger.ms: .nan}}}", "Expected a number of milliseconds"),
        ("servers: {kafka: {producer: {linger.ms: 1000000}}}", "rejects this value"),
        ("servers: {kafka: {producer: {lingr.ms: 5}}}", "no such property"),
        ("servers: {kafka: {producer: {linger.ms: 5000}}}", "at most 100 ms"),
        ("servers: {kafka: {producer: {message.max.bytes: 1000}}}", "at least 16384"),
        (
            "servers: {kafka: {producer: {sasl.mechanism: aws_msk_iam}}}",
            "oauth: {aws_region: REGION}} beside producer.",
        ),
        ("servers: {kafka: {sasl: {mechanism: OAUTHBEARER, oauth: {aws_profile: a}}}}", "aws_region is required with"),
        (
            "servers: {kafka: {sasl: {mechanism: OAUTHBEARER, oauth: {aws_region: a-b, azure_resource: 'https://d'}}}}",
            "aws_region gets a token, too.",
        ),
        ("servers: {kafka: {sasl: {mechanism: OAUTHBEARER, username: a}}}", "another mechanism is required with"),
        ("servers: {kafka: {sasl: {mechanism: OAUTHBEARER, oauth: {}}}}", "This setting is missing."),
        ("servers: {kafka: {sasl: {mechanism: PLAIN, oauth: {}}}}", "mechanism: OAUTHBEARER is required with"),
        (
            (
                "servers: {kafka: {sasl: {mechanism: OAUTHBEARER, oauth: "
                "{client_secret_file: c, azure_resource: 'https://d'}}}}"
            ),
            "client_secret_file gets a token, too.",
        ),
        ("servers: {kafka: {registry: {token_file: t, oauth: {}}}}", "has both oauth and a token."),
        ("servers: {kafka: {sasl: {oauth: {extensions: {a b: c}}}}}", "A SASL extension is a name of letters"),
        ("servers: {kafka: {sasl: {oauth: {extensions: {a: 'b,c=d'}}}}}", "A SASL extension is a name of letters"),
        ("servers: {kafka: {producer: {max.request.size: 500000}}}", "Did you mean 'message.max.bytes'?"),
        ("servers: {kafka: {producer: {schema.registry.url: 'http://a:1'}}}", "write registry: {url: URL} beside"),
        ("servers: {kafka: {sasl: {username: a}}}", "This setting is missing."),
        ("servers: {kafka: {tls: true}}", "Write tls: {}."),
        ("servers: {kafka: {tls: {insecure: true}}}", "TLS always verifies"),
        ("servers: {kafka: {client_id: a}}", "the contract has it"),
        ("servers: {kafka: {port: 1883}}", "Remove it: write host: NAME:PORT."),
        ("servers: {kafka: {tls: {cert_file: ''}}}", "Expected a file name"),
        ("streams: {doors: {qos: true}}", "Expected a QoS."),
        ("streams: {doors: {qos: 1.0}}", "a whole number"),
        ("streams: {doors: {enabled: yes}}", "Write true or false"),
        ("http: {listen: localhost}", "Expected one address with a port"),
        ("http: {listen: false}", "or off"),
        ("http: {listen: 9464}", "Write 127.0.0.1:9464"),
        ("spool: {after: 12:30}", "Expected a duration."),
        ("spool: {memory: .inf}", "Expected a size."),
        ("spool: {memory: 1}", "too small to be useful"),
        ("spool: {limit: 5}", "at least 256KiB"),
        ("spool: {after: 2d}", "more than an hour"),
        ("servers: {kafka: {host: 'a:0'}}", "0 is not a port."),
        ("servers: {kafka: {registry: {url: 'http://a:0'}}}", "Expected an http or https URL"),
        ("spool: {path: ''}", "Expected a file name"),
        ("mqtt: {reader: slow}", "Expected 'fast' or 'paho'"),
    ],
)
def test_load_refuses(tmp_path: Path, line: str, message: str) -> None:
    findings = refuse(tmp_path, f"contract: a.yaml\n{line}\n")
    assert message in " ".join(texts(findings))
    assert {finding.line for finding in findings} == {2}
    for finding in findings:
        assert not PYTHON.search(f"{finding.message} {finding.fix}"), str(finding)
    if apply(findings[0]):
        after = {text.partition(" ")[2] for text in texts(all_findings(tmp_path / "gateway.yaml"))}
        assert after < {text.partition(" ")[2] for text in texts(findings)}
    else:
        assert findings[0].fix in PROSE, "Quote what can be copied, or add this fix to PROSE."


def all_findings(path: Path) -> list[Finding]:
    try:
        load(path, {})
    except ConfigurationError as error:
        return list(error.findings)
    return []


GUARANTEE, ELSEWHERE, NOT_OFFERED = "would break a guarantee", "from another setting", "does not offer"
CERTIFICATE = "tls: {cert_file: FILE, key_file: FILE}"
LOGS_IN = "sasl: {mechanism: SCRAM-SHA-512, username: NAME, password_file: FILE}"

GETS_A_TOKEN = "sasl: {mechanism: OAUTHBEARER, oauth: {token_url: URL, client_id: NAME, client_secret_file: FILE}}"


@pytest.mark.parametrize(
    ("mechanism", "reason", "instead"),
    [
        ("GSSAPI", "The gateway does not offer Kerberos, for which", "sasl: {mechanism: SCRAM-SHA-512, username: NAME"),
        ("gssapi, username: a", "The gateway does not offer Kerberos, for which", "sasl: {mechanism: SCRAM-SHA-512"),
        ("AWS_MSK_IAM", "IAM of Amazon MSK is OAUTHBEARER here.", "sasl: {mechanism: OAUTHBEARER, oauth: {aws_region:"),
    ],
)
def test_load_refuses_a_mechanism_that_is_not_offered_in_one_finding(
    tmp_path: Path, mechanism: str, reason: str, instead: str
) -> None:
    (text,) = texts(refuse(tmp_path, f"contract: a.yaml\nservers: {{kafka: {{sasl: {{mechanism: {mechanism}}}}}}}\n"))
    assert f"sasl.mechanism: {reason}" in text
    assert f" Write {instead}" in text


@pytest.mark.parametrize(
    ("names", "reason", "fix"),
    [
        ("acks request.required.acks ACKS enable.idempotence partitioner queuing.strategy", GUARANTEE, "Remove it."),
        ("message.timeout.ms delivery.timeout.ms retries message.send.max.retries", GUARANTEE, "Remove it."),
        ("enable.gapless.guarantee allow.auto.create.topics topic.blacklist", GUARANTEE, "Remove it."),
        ("dr_cb dr_msg_cb error_cb stats_cb on_delivery enabled_events logger opaque", GUARANTEE, "Remove it."),
        ("ssl.endpoint.identification.algorithm ssl.certificate.verify_cb", GUARANTEE, "Remove it."),
        ("enable.ssl.certificate.verification plugin.library.paths test.mock.num.brokers", GUARANTEE, "Remove it."),
        ("bootstrap.servers metadata.broker.list", ELSEWHERE, "host: HOST:PORT"),
        ("security.protocol", ELSEWHERE, "tls: {}"),
        ("ssl.ca.location ssl.ca.pem", ELSEWHERE, "tls: {ca_file: FILE}"),
        ("ssl.certificate.location ssl.key.location ssl.key.pem ssl.keystore.location", ELSEWHERE, CERTIFICATE),
        ("ssl.key.password ssl.keystore.password", ELSEWHERE, "key_password_file: FILE"),
        ("sasl.mechanism sasl.mechanisms sasl.username sasl.password", ELSEWHERE, LOGS_IN),
        ("sasl.oauthbearer.method sasl.oauthbearer.client.secret https.ca.pem", ELSEWHERE, GETS_A_TOKEN),
        ("enable.sasl.oauthbearer.unsecure.jwt", ELSEWHERE, GETS_A_TOKEN),
        ("sasl.kerberos.keytab", f"{NOT_OFFERED} Kerberos", LOGS_IN),
        ("transactional.id transaction.timeout.ms", "The gateway sets it with delivery", "`delivery: exactly_once`"),
        ("ssl.cipher.suites ssl.crl.location", f"{NOT_OFFERED} this property", "Remove it"),
        ("sticky.partitioning.linger.ms", "would have no effect", "Remove it."),
        ("default.topic.config", "hides others", "Write its members beside it"),
        ("ssl.bogus sasl.bogus https.bogus", "librdkafka has no such property.", "CONFIGURATION.md"),
    ],
)
def test_load_refuses_producer_properties_with_the_true_reason(
    tmp_path: Path, names: str, reason: str, fix: str
) -> None:
    """It would break a guarantee, is set from another key, which is named, or is not offered."""
    for name in names.split():
        [finding] = refuse(tmp_path, f"contract: a.yaml\nservers: {{kafka: {{producer: {{{name}: {SECRET}}}}}}}\n")
        assert reason in finding.message
        assert fix in finding.fix
        assert finding.path == f"servers.kafka.producer.{name}"
        assert SECRET not in str(finding)


@pytest.mark.parametrize("named", ["tls: {}", "host: HOST:9092", "tls: {ca_file: FILE}", CERTIFICATE, LOGS_IN])
def test_load_takes_what_a_refused_producer_property_is_to_be_replaced_with(
    tmp_path: Path, certificates: Certificates, named: str
) -> None:
    content = "password" if named == LOGS_IN else certificates.keystore("client").read_text()
    write_secret(tmp_path, "FILE", content)
    assert read(tmp_path, f"contract: a.yaml\nservers: {{kafka: {{{named}}}}}\n").servers["kafka"]


def test_load_refuses_many_requests_under_way_however_the_property_is_written(tmp_path: Path) -> None:
    [finding] = refuse(tmp_path, "contract: a.yaml\nservers: {kafka: {producer: {' MAX.In.Flight ': 9}}}\n")
    assert "Kafka keeps the order of at most five requests" in finding.message


@pytest.mark.parametrize("name", ["max.in.flight", "max.in.flight.requests.per.connection"])
def test_load_takes_as_many_requests_under_way_as_keep_their_order(tmp_path: Path, name: str) -> None:
    text = f"contract: a.yaml\nservers: {{kafka: {{producer: {{{name}: %s}}}}}}\n"
    assert read(tmp_path, text % 5).servers["kafka"].producer == {name: 5}
    for value in ("0", "6", "1000000", "true", "2.5", "x"):
        [finding] = refuse(tmp_path, text % value)
        assert "Kafka keeps the order of at most five requests" in finding.message


def test_load_takes_other_producer_properties(tmp_path: Path) -> None:
    properties = "{linger.ms: 5, compression.type: zstd, socket.keepalive.enable: true, batch.size: 65536}"
    settings = read(tmp_path, f"contract: a.yaml\nservers: {{kafka: {{producer: {properties}}}}}\n")
    assert settings.servers["kafka"].producer["socket.keepalive.enable"] is True


# --- YAML ------------------------------------------------------------------------------------------------------------


def findings_of(path: Path) -> list[Finding]:
    try:
        return yaml_file.read(path).findings
    except ConfigurationError as error:
        return list(error.findings)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", 0, "is empty"),
        (b"# nothing\n---\n", 0, "is empty"),
        (b"- a\n", 1, "not a mapping"),
        (b"text", 1, "not a mapping"),
        (b"a: 1\n---\nb: 2\n", 2, "second document"),
        (b"a: 1\nb:\n\tc: 1\n", 3, "indented with a tab"),
        (b"a: 1\na: 2\n", 2, "is repeated; it is first on line 1"),
        (b"a: &x 1\n", 1, "An anchor"),
        (b"a: *x\n", 1, "An alias"),
        (b"a: &x 1\nb: &x 2\n", 2, "An anchor"),
        (b"a: &x [*x]\n", 1, "An alias"),
        (b"a: 1\n*x : 2\n", 2, "A key must be text"),
        (b"a: ! 1\n", 1, "A tag"),
        (b"<<: {a: 1}\n", 1, "A merge key"),
        (b"a: !!python/object/apply:os.system [id]\n", 1, "A tag"),
        (b"? [a, b]\n: 1\n", 1, "A key must be text"),
        (b'"": 1\n', 1, "A key is empty"),
        (b"a: 1\nb: caf\xe9\n", 2, "is not UTF-8"),
        (b"a: 1\nb: \x01\n", 2, "U+0001"),
        (b'a: "\\ud800"\n', 1, "names no character"),
        (b'"\\ud800": 1\n', 1, "names no character"),
        (b'a: "\\U00110000"\n', 1, "names no character"),
        (b"a: 1e400\n", 1, "too large"),
        (b"a: " + b"9" * 5_000, 1, "too large"),
        (b"a: [1, 2\nb: 1\n", 2, "The YAML is invalid"),
        (b"[" * 100_000, 1, "levels deep"),
        (b"? " * 500 + b"a", 1, "levels deep"),
        (b"a: 1\n" * 200_001, 0, "larger than 1,000,000 bytes"),
        (b"a: 1\n" * 1_000, 101, "100 findings"),
    ],
)
def test_read_refuses_yaml(tmp_path: Path, content: bytes, line: int, message: str) -> None:
    findings = findings_of(write(tmp_path, content))
    assert any(finding.line == line and message in finding.message for finding in findings)
    "".join(map(str, findings)).encode()  # nothing in it that a terminal cannot show


def read_yaml(folder: Path, text: str | bytes) -> Source:
    return yaml_file.read(write(folder, text), "gateway.yaml")


def test_read_takes_plain_scalars_for_what_they_look_like(tmp_path: Path) -> None:
    text = "a: [on, no, 012, 12:30, 1_000, 0x1F, .inf, 2026-01-05, +5, ~, true, 5, -1.5, 1e3, '5']\non: {1: x}\n"
    document = read_yaml(tmp_path, b"\xef\xbb\xbf" + text.encode())
    words = ["on", "no", "012", "12:30", "1_000", "0x1F", ".inf", "2026-01-05", "+5"]
    assert document.data == {"a": [*words, None, True, 5, -1.5, 1_000.0, "5"], "on": {"1": "x"}}


def test_read_knows_the_line_of_every_key(tmp_path: Path) -> None:
    document = read_yaml(tmp_path, "a:\n  b: 1\n  c:\n    - 1\n    - {d: 2}\n")
    assert document.lines == {("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", "0"): 4, ("a", "c", "1"): 5} | {
        ("a", "c", "1", "d"): 5
    }
    assert document.line(("a", "b", "gone")) == 2
    assert document.line(("gone",)) == 0


def test_places_are_written_as_settings_and_contracts_do() -> None:
    assert dotted(("servers", "kafka", "host")) == "servers.kafka.host"
    assert pointer(("channels", "a/b~c", "0")) == "#/channels/a~1b~0c/0"
    assert dotted(("a\x1b[31m\n",)) == "a\\u001b[31m\\n"


def test_load_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load(tmp_path / "gone.yaml", {})


def test_load_of_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a directory"):
        load(tmp_path, {})


def test_load_of_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="is not a regular file"):
        load(tmp_path / "pipe", {})


def test_explain_names_the_user_who_may_not_read() -> None:
    assert explain(PermissionError(13, "Permission denied")) == f"cannot be read by user {os.geteuid()}"


# --- the environment -------------------------------------------------------------------------------------------------

SERVERS = "contract: a.yaml\nservers:\n  factoryBroker:\n  kafka: {producer: {linger.ms: 5}}\nstreams: {doors: }\n"


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    environ = {
        "GATEWAY_CONTRACT": "b.yaml",
        "GATEWAY_SPOOL__LIMIT": "1GiB",
        "GATEWAY_SPOOL__ON_FULL": "drop_oldest",
        "GATEWAY_HTTP__LISTEN": "off",
        "GATEWAY_SERVERS__FACTORYBROKER__HOST": "pi.local:1883",
        "GATEWAY_SERVERS__KAFKA__PRODUCER__LINGER_MS": "7",
        "GATEWAY_SERVERS__KAFKA__PRODUCER__COMPRESSION_TYPE": "zstd",
        "GATEWAY_SERVERS__KAFKA__REGISTRY__REGISTER": "false",
        "GATEWAY_STREAMS__DOORS__QOS": "0",
        "HOME": "/elsewhere",
    }
    settings = read(tmp_path, SERVERS, environ)
    assert (settings.contract, settings.spool.limit, settings.spool.on_full) == ("b.yaml", 2**30, "drop_oldest")
    assert settings.http.listen is None
    assert settings.servers["factoryBroker"].host == "pi.local:1883"
    assert settings.servers["kafka"].producer == {"linger.ms": 7, "compression.type": "zstd"}
    assert settings.servers["kafka"].registry.register is False
    assert settings.streams["doors"].qos == 0


def test_environment_text_stays_text(tmp_path: Path) -> None:
    write_secret(tmp_path, "12")
    environ = {
        "GATEWAY_SERVERS__FACTORYBROKER__USERNAME": "0123",
        "GATEWAY_SERVERS__FACTORYBROKER__PASSWORD_FILE": "12",
    }
    assert read(tmp_path, SERVERS, environ).servers["factoryBroker"].username == "0123"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GATEWAY_SPOOL__LIMT", "1", "Did you mean GATEWAY_SPOOL__LIMIT?"),
        ("GATEWAY_SPOOL_LIMIT", "1", "Did you mean GATEWAY_SPOOL__LIMIT?"),
        ("GATEWAY_SPOL__LIMIT", "1", "Did you mean GATEWAY_SPOOL__LIMIT?"),
        ("GATEWAY_SPOOL", "1", "names a section"),
        ("GATEWAY_SPOOL__PATH__X", "1", "The setting has no members"),
        ("GATEWAY_", "1", "No setting has this name."),
        ("GATEWAY_SERVERS__KAFK__HOST", "a:1", "Did you mean GATEWAY_SERVERS__KAFKA__HOST?"),
        ("GATEWAY_SERVERS__KAFKA__PASSWORD", SECRET, "A secret is not allowed in the environment."),
        ("GATEWAY_SERVERS__KAFKA__PRODUCER__ACKS", "0", "would break a guarantee"),
        ("GATEWAY_SPOOL__WHEN", "", "The variable is empty."),
        ("GATEWAY_SPOOL__WHEN", SECRET, "Expected 'outage' or 'always'"),
        ("GATEWAY_SPOOL__MEMORY", "9" * 5_000, "Expected a size."),
        ("GATEWAY_SPOOL__PATH", "\udcff", "is not UTF-8"),
    ],
)
def test_environment_that_fits_nothing_is_named(tmp_path: Path, variable: str, value: str, message: str) -> None:
    [finding] = refuse(tmp_path, SERVERS, {variable: value})
    assert finding.source == variable
    assert message in str(finding)
    assert SECRET not in str(finding)


def test_environment_that_fits_two_servers_is_refused(tmp_path: Path) -> None:
    [finding] = refuse(tmp_path, "contract: a\nservers: {aB: , a_b: }\n", {"GATEWAY_SERVERS__AB__HOST": "a:1"})
    assert finding.message == "The name matches aB and a_b."


# --- secrets ---------------------------------------------------------------------------------------------------------

LOGIN = "contract: a.yaml\nservers:\n  b:\n    username: u\n    password_file: pass word\n"


@pytest.mark.parametrize(
    ("content", "secret"), [("a\n", "a"), ("a", "a"), ("a\r\n", "a"), (" a ", " a "), ("pässe\n", "pässe")]
)
def test_secret_loses_one_newline_only(tmp_path: Path, content: str, secret: str) -> None:
    (tmp_path / "pass word").write_bytes(content.encode())
    (tmp_path / "pass word").chmod(0o600)
    assert read(tmp_path, LOGIN).secret("pass word").get_secret_value() == secret


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("", 0o600, "is empty"),
        ("\n", 0o600, "is empty"),
        ("a\n\n", 0o600, "more than one line"),
        ("a\nb\n", 0o600, "more than one line"),
        ("a\0b", 0o600, "more than one line"),
        ("a" * 70_000, 0o600, "more than one line"),
        ("a\n", 0o640, "Users other than its owner"),
        ("a\n", 0o604, "Users other than its owner"),
        ("a\n", 0o620, "Users other than its owner"),
    ],
)
def test_secret_that_is_not_fit_is_found_by_load(tmp_path: Path, content: str, mode: int, message: str) -> None:
    write_secret(tmp_path, "pass word", content, mode)
    [finding] = refuse(tmp_path, LOGIN)
    assert message in finding.message
    assert (finding.line, finding.path) == (5, "servers.b.password_file")


def test_secret_that_others_may_read_names_the_command(tmp_path: Path) -> None:
    write_secret(tmp_path, "pass word", mode=0o644)
    [finding] = refuse(tmp_path, LOGIN)
    assert finding.fix == f"Run: chmod 600 '{tmp_path}/pass word'"


def test_secret_that_goes_bad_later_is_a_finding_with_its_line(tmp_path: Path) -> None:
    path = write_secret(tmp_path, "pass word")
    settings = read(tmp_path, LOGIN)
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"servers.b.password_file: .* does not exist") as raised:
        settings.secret("pass word")
    assert raised.value.findings[0].line == 5


def test_secret_in_the_credentials_directory_comes_first(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    write_secret(credentials, "pass word", "from systemd", mode=0o440)
    write_secret(tmp_path, "pass word", "from the folder")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert read(tmp_path, LOGIN, environ).secret("pass word").get_secret_value() == "from systemd"
    assert read(tmp_path, LOGIN, {}).secret("pass word").get_secret_value() == "from the folder"


def test_credential_that_cannot_be_looked_for_is_a_finding(tmp_path: Path) -> None:
    """As where systemd has given a directory that this process may not read."""
    line = f"contract: a.yaml\nservers: {{b: {{username: u, password_file: {'x' * 300}}}}}\n"
    [finding] = refuse(tmp_path, line, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert "cannot be read" in finding.message


@pytest.mark.parametrize(
    "line",
    [
        f"servers: {{b: {{password: {SECRET}}}}}",
        f"servers: {{b: {{sasl: {{mechanism: PLAIN, username: u, password_file: x, password: {SECRET}}}}}}}",
        f"servers: {{b: {{registry: {{token: {SECRET}}}}}}}",
        f"servers: {{b: {{registry: {{url: 'https://u:{SECRET}@r.example'}}}}}}",
        f"servers: {{b: {{sasl: {SECRET}}}}}",
        f"servers: {{b: {{host: 'u:{SECRET}@h:1'}}}}",
    ],
)
def test_secret_written_into_the_settings_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    findings = refuse(tmp_path, f"contract: a.yaml\n{line}\n")
    assert SECRET not in str(findings)


def test_inline_password_is_refused_with_the_key_to_use(tmp_path: Path) -> None:
    [finding] = refuse(tmp_path, "contract: a.yaml\nservers: {b: {password: x}}\n")
    assert finding.message == "A secret is not allowed here."
    assert "password_file" in finding.fix


def test_repr_shows_no_secret(tmp_path: Path) -> None:
    write_secret(tmp_path, "pass word")
    settings = read(tmp_path, LOGIN)
    assert SECRET not in repr(settings) + repr(settings.secret("pass word")) + str(settings.secret("pass word"))


def test_half_a_pair_is_found(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("x")
    write_secret(tmp_path, "password")
    findings = refuse(
        tmp_path,
        "contract: a.yaml\nservers:\n"
        "  b: {password_file: password}\n  c: {tls: {cert_file: c.pem}}\n  d: {registry: {username: u}}\n",
    )
    assert [finding.message for finding in findings] == [
        "username is required with this setting.",
        "key_file is required with this setting.",
        "password_file is required with this setting.",
    ]


# --- against the contract --------------------------------------------------------------------------------------------


def make_contract(
    *,
    host: str = "localhost:1883",
    tls: bool = False,
    security: tuple[str, ...] = (),
    kafka: KafkaServer | None = None,
) -> Contract:
    broker = MqttServer(
        name="meterBroker",
        host=host,
        tls=tls,
        version="5.0",
        client_id="gateway",
        clean_session=False,
        keep_alive=60,
        session_expiry=3_600,
        maximum_packet_size=None,
        last_will=None,
        security=security,
    )
    default = KafkaServer("kafka", "localhost:9092", tls=False, security=(), registry_url="http://localhost:8081")
    return Contract(Path("a.yaml"), "t", "1", {"meterBroker": broker}, kafka or default, make_streams())


def make_streams() -> dict[str, Stream]:
    from gateway.core.model import Route, Topic  # noqa: PLC0415  (only these two lines need them)

    route = Route("send", Topic("t"), None, (), frozenset())
    return {"doors": Stream("doors", ("meterBroker",), Address.parse("doors/{a}"), (), 1, "reject", route, route)}


def compare(folder: Path, servers: str, contract: Contract, more: str = "") -> list[Finding]:
    write_secret(folder, "password")
    return check_consistency(read(folder, f"contract: a.yaml\nservers:\n  {servers}\n{more}"), contract)


@pytest.fixture
def pem_files(tmp_path: Path, certificates: Certificates) -> None:
    """Put the files `ca`, `cert` and `key` beside gateway.yaml."""
    shutil.copy(certificates.ca, tmp_path / "ca")
    shutil.copy(certificates.certificate("client"), tmp_path / "cert")
    shutil.copy(certificates.key("client"), tmp_path / "key")


USER = "username: u, password_file: password"
TOKEN = "username: u"
SCRAM = "sasl: {mechanism: SCRAM-SHA-512, username: u, password_file: password}"

OAUTH = (
    "sasl: {mechanism: OAUTHBEARER, oauth: "
    "{token_url: 'https://as.example/token', client_id: c, client_secret_file: password}}"
)


def secure_kafka(**changes: object) -> KafkaServer:
    values = {"host": "k.example:9093", "tls": True, "security": ("scramSha512",), "registry_url": "https://r.example"}
    return KafkaServer("kafka", **(values | changes))  # type: ignore[arg-type]  # the values fit, one by one


@pytest.mark.usefixtures("pem_files")
def test_check_consistency_of_settings_that_fit(tmp_path: Path) -> None:
    contract = make_contract(security=("userPassword",), kafka=secure_kafka())
    servers = f"meterBroker: {{{USER}}}\n  kafka: {{{SCRAM}, tls: {{ca_file: ca}}}}"
    assert compare(tmp_path, servers, contract, "streams: {doors: {qos: 1}}\n") == []


def test_check_consistency_misses_the_folder_of_the_spool(tmp_path: Path) -> None:
    """Unless the workers, systemd or a container make it."""

    def findings(more: str) -> list[str]:
        return texts(compare(tmp_path, "meterBroker: {}", make_contract(), more))

    (text,) = findings("spool: {path: here/spool.db}\n")
    assert text.startswith(
        f"4 spool.path: The folder {tmp_path}/here does not exist, and the gateway does not create it."
    )
    assert findings("spool: {path: here/spool.db}\nworkers: {count: 2}\n") == []
    assert findings("spool: {path: /var/lib/no-such-gateway/spool.db}\n") == []
    (tmp_path / "here").mkdir()
    assert findings("spool: {path: here/spool.db}\n") == []


def test_check_consistency_names_unknown_servers_and_streams(tmp_path: Path) -> None:
    assert texts(compare(tmp_path, "meterBorker: {}", make_contract(), "streams:\n  dors: {}\n")) == [
        "3 servers.meterBorker: The contract has no server of this name. Did you mean 'meterBroker'?",
        "5 streams.dors: The contract has no stream of this name. Did you mean 'doors'?",
    ]


@pytest.mark.parametrize(
    ("servers", "contract", "finding"),
    [
        (
            "meterBroker: {}",
            make_contract(host="b.example", tls=True, security=("userPassword",)),
            "Add username, and password_file unless the broker takes none.",
        ),
        (
            "meterBroker: {}",
            make_contract(host="b.example", tls=True, security=("X509",)),
            "Add tls with cert_file and key_file.",
        ),
        (
            "meterBroker: {}",
            make_contract(host="b.example", security=("oauth2",)),
            "Use userPassword or X509 in the contract's `security`.",
        ),
        (f"meterBroker: {{{SCRAM}}}", make_contract(), "This setting is for Kafka"),
        ("meterBroker: {host: 'a:1,b:1'}", make_contract(), "An MQTT server has one host."),
        (
            "meterBroker: {}",
            make_contract(host="mqtt.example:1883"),
            "Readings would cross a public network unencrypted",
        ),
        (f"meterBroker: {{{USER}}}", make_contract(host="mqtt.example:1883"), "public network unencrypted"),
        (f"meterBroker: {{host: '8.8.8.8', {USER}}}", make_contract(), "public network unencrypted"),
        (f"meterBroker: {{{TOKEN}}}", make_contract(host="mqtt.example:1883"), "The user name would cross a public"),
        (f"kafka: {{{USER}}}", make_contract(), "Move it into the section sasl."),
        ("kafka: {}", make_contract(kafka=secure_kafka()), "Add sasl with mechanism SCRAM-SHA-512."),
        (f"kafka: {{{SCRAM}}}", make_contract(kafka=secure_kafka(security=("plain",))), "The contract requires PLAIN."),
        (f"kafka: {{{SCRAM}}}", make_contract(kafka=secure_kafka(tls=False)), "public network unencrypted"),
        (f"kafka: {{{OAUTH}}}", make_contract(kafka=secure_kafka(tls=False, security=("oauth2",))), "The token would"),
        ("kafka: {}", make_contract(kafka=secure_kafka(security=("oauth2",))), "Add sasl with mechanism OAUTHBEARER."),
        (
            f"kafka: {{{OAUTH.replace('https', 'http')}}}",
            make_contract(kafka=secure_kafka(security=("oauth2",))),
            "servers.kafka.sasl.oauth.token_url: The token would cross a public network unencrypted.",
        ),
        (
            f"kafka: {{{SCRAM}}}",
            make_contract(kafka=secure_kafka(registry_url=None)),
            "No schema registry is configured.",
        ),
        (
            f"kafka: {{{SCRAM}, registry: {{token_file: password}}}}",
            make_contract(kafka=secure_kafka(registry_url="http://r.example")),
            "registry's password",
        ),
    ],
)
@pytest.mark.usefixtures("pem_files")
def test_check_consistency_finds(tmp_path: Path, servers: str, contract: Contract, finding: str) -> None:
    errors = [each for each in compare(tmp_path, servers, contract) if each.severity == "error"]
    assert any(finding in str(each) for each in errors), errors
    assert {each.line for each in errors} == {3}


@pytest.mark.parametrize(
    ("servers", "contract", "finding"),
    [
        (
            "meterBroker: {}",
            make_contract(security=("userPassword",)),
            "Add username, and password_file unless the broker takes none.",
        ),
        (f"kafka: {{{SCRAM}}}", make_contract(), "The contract does not require SASL."),
    ],
)
def test_check_consistency_warns(tmp_path: Path, servers: str, contract: Contract, finding: str) -> None:
    """A local broker without a password, or settings stricter than the contract, are warnings."""
    [warning] = compare(tmp_path, servers, contract)
    assert (warning.severity, finding in str(warning)) == ("warning", True)


def test_check_consistency_refuses_shared_subscriptions_that_deliver_once(tmp_path: Path) -> None:
    more = "delivery: exactly_once\nworkers:\n  split: shared\n"
    [error] = compare(tmp_path, "meterBroker: {}", make_contract(), more)
    assert (error.path, error.line, error.severity) == ("workers.split", 6, "error")
    assert apply(error)
    assert check_consistency(load(tmp_path / "gateway.yaml", {}), make_contract()) == []


def test_check_consistency_warns_of_a_lowered_qos(tmp_path: Path) -> None:
    [warning] = compare(tmp_path, "meterBroker: {}", make_contract(), "streams:\n  doors: {qos: 0}\n")
    assert (warning.path, warning.line, warning.severity) == ("streams.doors.qos", 5, "warning")


@pytest.mark.parametrize(
    ("servers", "contract"),
    [
        (f"meterBroker: {{{USER}, allow_plain: true}}", make_contract(host="mqtt.example")),
        ("meterBroker: {allow_plain: true}", make_contract(host="mqtt.example")),
        ("meterBroker: {tls: {}}", make_contract(host="mqtt.example")),
        ("meterBroker: {}", make_contract(host="192.168.1.9")),
        (f"meterBroker: {{{USER}}}", make_contract(host="192.168.1.9:1883")),
        (f"meterBroker: {{{USER}}}", make_contract(host="mqtt.example:8883", tls=True)),
        (f"meterBroker: {{{USER}}}", make_contract(security=("X509", "userPassword"))),
        (f"meterBroker: {{{TOKEN}}}", make_contract(host="b.example", tls=True, security=("userPassword",))),
        (f"meterBroker: {{tls: {{ca_file: ca}}, {USER}}}", make_contract(host="mqtt.example:8883")),
        ("meterBroker: {tls: {cert_file: cert, key_file: key}}", make_contract(tls=True, security=("X509",))),
        (f"kafka: {{{SCRAM}}}", make_contract(kafka=secure_kafka(security=("plain", "scramSha512")))),
        (f"kafka: {{{OAUTH}}}", make_contract(kafka=secure_kafka(security=("openIdConnect",)))),
        ("kafka: {registry: {cert_file: cert, key_file: key}}", make_contract()),
    ],
)
@pytest.mark.usefixtures("pem_files")
def test_check_consistency_accepts(tmp_path: Path, servers: str, contract: Contract) -> None:
    assert compare(tmp_path, servers, contract) == []


@pytest.mark.parametrize(
    ("given", "seconds"),
    [({}, None), ({"linger.ms": 5}, 0.005), ({"queue.buffering.max.ms": "2.5"}, 0.0025), ({"LINGER.MS": 0}, 0.0)],
)
def test_take_linger_leaves_the_other_properties(given: dict[str, Any], seconds: float | None) -> None:
    """How long a record waits for others is the loop's, under whichever name; librdkafka never gets it."""
    properties = {"compression.type": "zstd"} | given
    assert take_linger(properties) == pytest.approx(seconds)
    assert properties == {"compression.type": "zstd"}
