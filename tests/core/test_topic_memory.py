"""What is known of topics is learnt once while it fits, and again when it did not."""

from __future__ import annotations

from gateway.core.topic_memory import MAX_BYTES, TopicMemory


def test_a_topic_is_learnt_once() -> None:
    """What is known is the same object again, and a look-up alone learns nothing."""
    learnt: list[bytes] = []
    memory: TopicMemory[list[bytes]] = TopicMemory(lambda topic: [*learnt, topic])
    assert memory.get(b"a") is None
    assert memory[b"a"] is memory[b"a"]
    assert memory.get(b"a") is memory[b"a"]


def test_topics_beyond_the_memory_are_learnt_again() -> None:
    """However many topics there are, each is known, and memory stays bounded."""
    memory = TopicMemory(bytes.decode, max_topics=100)
    for _ in range(2):
        for number in range(1_000):
            assert memory[b"doors/%d" % number] == f"doors/{number}"
            assert len(memory) <= 100


def test_the_memory_is_bounded_in_bytes_too() -> None:
    """Devices that publish to long topics, each once, do not fill the memory."""
    memory = TopicMemory(len)
    for number in range(1_000):
        assert memory[b"doors/%d" % number + 65_000 * b"x"] > 65_000
    assert sum(map(len, memory)) <= MAX_BYTES + 65_535
