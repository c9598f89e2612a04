"""How a Broker sets up paho's client, for both versions of MQTT."""

from __future__ import annotations

import pytest

from gateway.mqtt.broker import Broker, Client


@pytest.mark.parametrize("is_clean", [True, False])
def test_clean_start_is_set_when_the_client_is_made_at_3_1_1_and_when_it_connects_at_5_0(is_clean: bool) -> None:  # noqa: FBT001 - a column
    older, newer = Broker("b", "h", 1, is_mqtt5=False), Broker("b", "h", 1)
    assert older.client_options("id", is_clean=is_clean)["clean_session"] is is_clean
    assert older.connect_options(60, is_clean=is_clean) == {}
    assert newer.client_options("id", is_clean=is_clean)["clean_session"] is None
    assert newer.connect_options(60, is_clean=is_clean)["clean_start"] is is_clean


def test_connect_options_carry_the_properties_of_connect() -> None:
    properties = Broker("b", "h", 1).connect_options(3_600, is_clean=False, receive_maximum=7)["properties"]
    assert (properties.SessionExpiryInterval, properties.ReceiveMaximum) == (3_600, 7)


@pytest.mark.parametrize(("password", "sent"), [("secret", b"secret"), ("", None)])
def test_configure_sends_no_password_where_there_is_none(password: str, sent: bytes | None) -> None:
    broker = Broker("b", "h", 1, username="gateway", password=password)
    client = Client(**broker.client_options("id"))
    broker.configure(client, 3.0)
    assert (client._username, client._password) == (b"gateway", sent)  # noqa: SLF001 - paho does not show them
    assert client.connect_timeout == 3.0


def test_a_broker_does_not_show_its_password() -> None:
    assert "canary" not in repr(Broker("b", "h", 1, username="gateway", password="canary"))
