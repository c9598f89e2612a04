"""How a source tells the streams of topics apart, also for a while after a stream is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.encoding import encoding_of
from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED, topic_index
from gateway.mqtt.routing import Routing
from tests.contract_values import record, stream

SCHEMA = record(("key", "string"))
KEPT = stream("kept", SCHEMA, address="a/{any}", keys=("/key",))
GONE = stream("gone", SCHEMA, address="{line}/gone", keys=("/key",))


@pytest.mark.parametrize(
    ("topic", "found"),
    [("a/x", "kept"), ("a/gone", "kept"), ("b/gone", "gone"), ("b/other", UNMAPPED), ("wide/other", NOT_ADDRESSED)],
)
def test_beside_gives_streams_that_are_gone_what_no_other_has(topic: str, found: str) -> None:
    """A topic that another stream has now is that stream's, however specific the address of the former is."""
    own = Routing({}, topic_index([(KEPT.name, KEPT.address)], ["wide/+"]), frozenset())
    assert own.beside([GONE]).stream_of(topic.encode()) == found


def test_beside_keeps_properties_of_streams_that_need_them() -> None:
    """A stream that is gone still makes headers of them."""
    encoded = encoding_of("application/cbor")
    assert encoded
    own = Routing({"a/+": 1}, topic_index([]), frozenset({"kept"}))
    assert own.beside([GONE, replace(GONE, name="cbor", encoding=encoded)]).property_streams == {"kept", "cbor"}
