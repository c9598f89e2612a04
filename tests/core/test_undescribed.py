"""Topics that no stream describes, in groups."""

from __future__ import annotations

from gateway.core.address import Address
from gateway.core.topic_index import topic_index
from gateway.core.undescribed import MAXIMUM_GROUPS, OTHERS, UndescribedTopics


def test_memory_is_bounded() -> None:
    """Any number of topics, of any length and bytes, are counted in bounded memory."""
    topics = UndescribedTopics(topic_index([("doors", Address.parse("doors/{location}"))]))
    topics.take(b"doors/one")
    topics.take(b"\xff\x1b" + b"x" * 60_000)
    for number in range(2 * MAXIMUM_GROUPS):
        topics.take(b"%d/a" % number)
    assert (topics.described, topics.undescribed) == (1, 2 * MAXIMUM_GROUPS + 1)
    groups = topics.groups(2 * MAXIMUM_GROUPS)
    assert len(groups) == MAXIMUM_GROUPS + 1
    assert groups[-1] == (OTHERS, MAXIMUM_GROUPS + 1)
    assert all(len(group.name) < 300 and group.name.isprintable() for group in groups)


def test_groups_gives_the_largest_first() -> None:
    topics = UndescribedTopics(topic_index([]))
    for topic in [b"a/b/c", b"a/b/d", b"a/b", b"c"]:
        topics.take(topic)
    assert topics.groups(1) == [("a/b/...", 2), (OTHERS, 2)]
    assert topics.groups(9) == [("a/b/...", 2), ("a/b", 1), ("c", 1)]
