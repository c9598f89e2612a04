"""Every login at every peer, with real servers: an error is logged once, and recovery needs no restart.

Clocks cannot be set here, so certificates are made that are wrong today. Then the server presents another one, which
to a gateway is the same as a clock that was set.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.certificate import FILES_UNDER_SERVERS, UNDER_SERVERS
from gateway.errors import GatewayError
from gateway.installation import open_installation
from gateway.kafka.partitions import Partitions
from gateway.operate.doctor import certificates as doctor
from gateway.operate.tail.consumer import TopicConsumer
from gateway.operate.topics import Cluster
from tests.security.site import Site, basic, details, wait_told
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.gateway import Gateway

RETRY = "Will retry."
PORTAL = f"A captive portal or a proxy may have answered instead. {RETRY}"
COUNT = 10  # readings of each of two streams

LOGINS: dict[str, Callable[[Site], dict[str, Any]]] = {
    "PLAIN": lambda site: site.with_passwords("PLAIN"),
    "SCRAM-SHA-256": lambda site: site.with_passwords("SCRAM-SHA-256"),
    "SCRAM-SHA-512, basic": lambda site: site.with_passwords("SCRAM-SHA-512"),
    "certificates, bearer": lambda site: site.with_certificates(),
}


@pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS)
def test_run_signs_in(site: Site, login: Callable[[Site], dict[str, Any]]) -> None:
    """Readings arrive over TLS everywhere, with user and password or with a certificate and a token."""
    before = site.counts()
    with site.gateway(login(site)) as gateway:
        gateway.start()
        site.publish(COUNT)
        gateway.wait_settled(2 * COUNT)
        assert gateway.stop_and_read_ledger()["balanced"]
        assert not details(gateway)
    assert arrived(site, before) == {"machine-sensors": COUNT, "smart-meter": COUNT}


def test_run_needs_no_certificate_of_its_own_where_kafka_asks_for_none(site: Site) -> None:
    """TLS alone: Kafka proves who it is, and takes anybody."""
    servers = site.with_passwords()
    del servers["kafka"]["sasl"]
    servers["kafka"]["host"] = site.kafka.servers("OPEN_SSL")
    with site.gateway(servers) as gateway:
        gateway.start()
        site.publish(COUNT)
        gateway.wait_settled(2 * COUNT)
        assert gateway.stop_and_read_ledger()["balanced"]


# --- servers whose certificate is rejected ---------------------------------------------------------------------------

DOCTOR = "run `gateway doctor -c FILE` for the cause"
REJECTED = {  # the certificate of the server: OpenSSL's reason, and what the doctor finds: the cause and the fix
    "wrong-host": (
        "IP address mismatch, certificate is not valid for '127.0.0.1'",
        "its certificate is issued for other.example, not for 127.0.0.1",
        "Set {address} to a name that the certificate is issued for.",
    ),
    "expired": (
        "certificate has expired",
        "its certificate expired on 2020-01-31 00:00 UTC",
        "Renew it on the server, or set this machine's clock.",
    ),
    "not-yet": (
        "certificate is not yet valid",
        "its certificate is not valid before 2040-01-01 00:00 UTC",
        "Check that this machine's clock is set.",
    ),
    "foreign": (
        "unable to get local issuer certificate",
        "its certificate is signed by CN=other-ca, which is not a trusted CA",
        "Set {authority} to the certificate of that CA.",
    ),
}


@pytest.mark.parametrize(
    ("shown", "reason", "cause", "fix"), [(shown, *texts) for shown, texts in REJECTED.items()], ids=REJECTED
)
def test_run_refuses_a_certificate_until_it_is_a_good_one(
    site: Site, shown: str, reason: str, cause: str, fix: str
) -> None:
    """All three peers have a bad one: each is logged once with the reason, and the doctor finds the cause.

    When the certificates are replaced, no reading is lost.
    """
    of_server = fix.format(address=f"host {UNDER_SERVERS}", authority=f"tls.ca_file {UNDER_SERVERS}")
    of_registry = fix.format(address="registry.url", authority="registry.ca_file")
    servers, before = site.with_passwords(), site.counts()
    rejected = f"certificate rejected: {reason}; {DOCTOR}"
    at_kafka = f"Kafka at {servers['kafka']['host']}: certificate rejected: certificate verify failed; {DOCTOR}"
    expected = {
        "factoryBroker": [f"cannot connect to {servers['factoryBroker']['host']}: {rejected}"],
        "kafka": [at_kafka],
        "registry": [f"Registry {site.front.url}: {rejected}. {RETRY}"],
    }
    site.keep_session()
    site.present(shown)
    with site.gateway(servers) as gateway:
        gateway.start(ready=False)
        gateway.wait_subscribed("meterBroker")
        site.publish(COUNT)
        assert wait_told(gateway, *expected) == expected
        wait_for(lambda: gateway.metric("gateway_received_total") == COUNT, 60, "the readings of the other broker")
        wait_for(lambda: at_kafka in generic(gateway, "kafka"), 60, lambda: str(gateway.states()))
        assert rejected in generic(gateway, "factoryBroker")
        assert found_by_doctor(gateway) == [(cause, of_server)] * 2 + [(cause, of_registry)]
        assert gateway.command("status").stdout.count("certificate rejected: ") == len(expected)
        assert unanswered(gateway) == 3 * [f"Kafka does not answer: {at_kafka.replace('; run', '. Run')}."]
        site.present("broker")
        wait_arrived(site, before, gateway, COUNT)
        assert again(gateway, expected) == expected, "nothing was logged twice"
        assert gateway.stop_and_read_ledger()["balanced"]


def generic(gateway: Gateway, peer: str) -> str:
    """The detail of a peer, without the name of this gateway's settings."""
    return gateway.states()[peer]["detail"].replace(str(gateway.settings_file), "FILE")


def unanswered(gateway: Gateway) -> list[str]:
    """Collect the errors of the commands that connect to Kafka themselves: `topics plan`, `tail`, `dlq list`."""
    kafka = open_installation(gateway.settings_file, {}).kafka(producing=False)
    topics = ["machine-sensors"]
    calls: list[Callable[[], object]] = [
        lambda: Cluster(kafka, answer_seconds=1).topics(topics),
        lambda: TopicConsumer(kafka, topics, "end", answer_seconds=1),
        lambda: Partitions(kafka, answer_seconds=1).spans(topics),
    ]
    return [wait_for(lambda ask=ask: diagnosed(ask), 60, "a diagnosis") for ask in calls]  # type: ignore[misc]  # mypy cannot infer a lambda with a default


def diagnosed(ask: Callable[[], object]) -> str:
    """Give the error of a command; nothing when Kafka did not show its certificate in the time that was given it."""
    with pytest.raises(GatewayError) as raised:
        ask()
    return str(raised.value) if "certificate" in str(raised.value) else ""


def found_by_doctor(gateway: Gateway) -> list[tuple[str, str]]:
    """Give cause and fix of what the doctor finds wrong with the certificates of the servers."""
    findings = doctor.examine(open_installation(gateway.settings_file, {}))
    return [(one.message, one.fix) for one in findings if one.severity == "error"]


# --- servers that reject the gateway's certificate or login ----------------------------------------------------------

OWN = f"check tls.cert_file and tls.key_file {FILES_UNDER_SERVERS}"
CLIENT_CERTIFICATES = {  # which the gateway presents: what the broker answers
    "": f"the broker requires a client certificate; set tls.cert_file and tls.key_file {UNDER_SERVERS}",
    "stranger": f"the broker does not trust the CA of the client certificate; {OWN}",
    "old-client": f"the client certificate has expired; {OWN}",
    "revoked": f"the client certificate is revoked; {OWN}",
}


def test_run_shows_a_certificate_that_nobody_takes(site: Site) -> None:
    """Missing, foreign, ended, revoked: told once; what is read meanwhile lies on disk, and a good one lets all out.

    Kafka knows no list of revocations: it takes one that is on it.
    """
    good, before = site.with_certificates(), site.counts()
    site.keep_session()
    with site.gateway(good, spool={"when": "always"}) as gateway:
        settings = json.loads(gateway.settings_file.read_text())
        for number, (own, told) in enumerate(CLIENT_CERTIFICATES.items(), start=1):
            gateway.settings_file.write_text(json.dumps(settings | {"servers": site.with_certificates(own)}))
            gateway.log_file.unlink(missing_ok=True)
            gateway.start(ready=False)
            gateway.wait_subscribed("meterBroker")
            expected = {"factoryBroker": [f"connection lost: {told}"]}
            if own != "revoked":
                where = f"Kafka at {good['kafka']['host']}"
                expected["kafka"] = [f"{where}: client certificate rejected or missing; {OWN}"]
            assert wait_told(gateway, *expected) == expected
            if own != "revoked":
                site.publish(COUNT)
                wait_for(lambda: gateway.metric("gateway_spooled") >= number * COUNT, 60, gateway.metrics)  # noqa: B023 - waited for at once
            gateway.kill()
        gateway.settings_file.write_text(json.dumps(settings))
        gateway.start()
        wait_arrived(site, before, gateway, 3 * COUNT)
        assert gateway.stop_and_read_ledger()["balanced"]


def again(gateway: Gateway, expected: dict[str, list[str]]) -> dict[str, list[str]]:
    """Give what is expected as often as the log has it; a restarting broker may also have refused a connection."""
    told = wait_told(gateway, *expected)
    return {peer: [text for text in texts if text in expected[peer]] for peer, texts in told.items()}


def refusals(site: Site, servers: dict[str, Any]) -> dict[str, list[str]]:
    """Tell what the peers' refusal of user and password is in the log."""
    kafka, registry = f"Kafka at {servers['kafka']['host']}", f"Registry {site.front.url}"
    sasl = f"check sasl.username, password_file and mechanism {FILES_UNDER_SERVERS}"
    login = "Check registry.username and registry.password_file, or registry.token_file; a renewed file is read again."
    return {
        "factoryBroker": [
            f"the broker refused the connection: Not authorized; check username and password_file {FILES_UNDER_SERVERS}"
        ],
        "kafka": [f"{kafka}: user name or password rejected; {sasl}"],
        "registry": [f"{registry}: HTTP 401 without JSON. {login} {PORTAL}"],
    }


def test_run_has_a_wrong_password_until_the_servers_know_it(site: Site) -> None:
    """Each peer that refuses is named once; when the servers take the password, everything arrives."""
    wrong = {name: f"{password}-of-tomorrow" for name, password in site.passwords.items()}
    servers, before = site.with_passwords(), site.counts()
    expected = refusals(site, servers)
    site.keep_session()
    with site.gateway(servers, wrong) as gateway:
        gateway.start(ready=False)
        gateway.wait_subscribed("meterBroker")
        site.publish(COUNT)
        assert wait_told(gateway, *expected) == expected
        site.admit(wrong)
        site.front.login = basic("gateway", wrong["registry"])
        wait_arrived(site, before, gateway, COUNT)
        assert again(gateway, expected) == expected, "nothing was said twice"
        assert gateway.stop_and_read_ledger()["balanced"]


def test_run_is_a_user_whom_nobody_knows(site: Site) -> None:
    """To be unknown is told in the same words as a wrong password: no server says which it is."""
    servers = site.with_passwords()
    servers["factoryBroker"]["username"] = servers["kafka"]["sasl"]["username"] = "nobody"
    servers["kafka"]["registry"]["username"] = "nobody"
    expected = refusals(site, servers)
    with site.gateway(servers) as gateway:
        gateway.start(ready=False)
        assert wait_told(gateway, *expected) == expected
        gateway.kill()


def test_run_has_a_token_that_the_registry_does_not_take(site: Site) -> None:
    """The registry alone is named."""
    servers = site.with_certificates()
    site.front.login = "Bearer another"
    with site.gateway(servers) as gateway:
        gateway.start(ready=False)
        expected = refusals(site, servers)["registry"]
        assert wait_told(gateway, "registry") == {"registry": expected}
        gateway.wait_subscribed()
        assert not set(details(gateway)) - {"registry"}
        site.front.login = f"Bearer {site.passwords['token']}"
        wait_for(gateway.is_ready, 60, lambda: gateway.log[-4000:])


# --- the wrong kind of port ------------------------------------------------------------------------------------------


def test_run_never_speaks_plain_when_tls_is_asked_for(site: Site) -> None:
    """Ports without TLS are named as such, and hear no password."""
    servers = site.with_passwords()
    servers["factoryBroker"]["host"] = f"127.0.0.1:{site.broker.port}"
    servers["kafka"]["host"] = site.kafka.bootstrap
    with site.gateway(servers) as gateway:
        gateway.start(ready=False)
        told = wait_told(gateway, "factoryBroker", "kafka")
        gateway.kill()
    assert told["factoryBroker"][0].endswith(f"is this a TLS port? check host {UNDER_SERVERS}")
    ending = f"connection closed during the TLS handshake; check host {UNDER_SERVERS}: does that port use TLS?"
    assert told["kafka"][0] == f"Kafka at {site.kafka.bootstrap}: {ending}"


def test_run_never_speaks_tls_when_it_is_not_asked_for(site: Site) -> None:
    """Ports with TLS are guessed at, from what can be seen of them."""
    servers = site.with_passwords()
    del servers["factoryBroker"]["tls"], servers["kafka"]["tls"]
    with site.gateway(servers) as gateway:
        gateway.start(ready=False)
        told = wait_told(gateway, "factoryBroker", "kafka")
        gateway.kill()
    assert told["factoryBroker"][0].endswith("is this a port for MQTT 5.0 without TLS?")
    assert told["kafka"][0].endswith(f"check host {UNDER_SERVERS}, and whether that port requires TLS")


def wait_arrived(site: Site, before: dict[str, int], gateway: Gateway, count: int) -> None:
    """Wait until so many readings of each stream have come since; what was under way at a restart may come twice."""
    expected = {"machine-sensors": count, "smart-meter": count}
    wait_for(lambda: arrived(site, before) == expected, 60, lambda: f"{arrived(site, before)} {gateway.log[-4000:]}")


def arrived(site: Site, before: dict[str, int]) -> dict[str, int]:
    """Tell how many records came since, by topic."""
    return {topic: count - before[topic] for topic, count in site.counts().items() if count > before[topic]}
