"""A broker that follows MQTT, and a gateway whose links break: what both do is chosen by Hypothesis.

The broker keeps each message until its acknowledgement has come, sends those again first and in order, and then gives
their packet ids to others. Payloads have few values, so that equal messages are frequent. One kind of broker is
Mosquitto 2.0.11, which sends all that waits at once, and uses packet ids again that are taken.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.core.entry import Entry
from gateway.core.reading import Reading
from gateway.core.session import PACKET_IDS, Session
from gateway.mqtt.reader import PUBACK, PUBCOMP, PUBREC, AckQueue

if TYPE_CHECKING:
    from collections.abc import Iterable

UPWARDS, LOWEST, FLOOD = "upwards", "lowest", "flood"  # how a broker chooses packet ids
FEW, AT_ONCE = 64, 16  # packet ids of one that floods, and how many messages come at once: few as well
STEPS = ("read", "persist", "make_safe", "flush", "ping", "receive")  # of a turn


KINDS = {PUBACK >> 16: "PUBACK", PUBREC >> 16: "PUBREC", PUBCOMP >> 16: "PUBCOMP"}


class FewHandshakes(AckQueue):
    """As few as there are packet ids."""

    __slots__ = ()
    most_handshakes = FEW // 8


@dataclass
class Sent:
    """A message as the broker has it."""

    number: int
    payload: bytes
    qos: int
    packet_id: int = 0
    is_dup: bool = False
    is_received: bool = False  # PUBREC has come: only PUBREL is sent again


class Broker:
    """One session at a broker, and the link to its client."""

    def __init__(self, ids: str, window: int) -> None:
        self.ids = ids
        self.window = window
        self.last_id = PACKET_IDS - 20
        self.waiting: deque[Sent] = deque()
        self.in_flight: list[Sent] = []
        self.to_client: deque[tuple[str, Any]] = deque()
        self.to_broker: deque[tuple[str, int]] = deque()

    def connect(self, *, is_present: bool) -> None:
        """Answer CONNECT, and send again what is not acknowledged."""
        self.to_client.clear()
        self.to_broker.clear()
        self.to_client.append(("CONNACK", is_present))
        for each in self.in_flight:
            each.is_dup = True
            self._send(each)
        self.go_on()

    def _send(self, sent: Sent) -> None:
        self.to_client.append(("PUBREL", sent.packet_id) if sent.is_received else ("PUBLISH", replace(sent)))

    def go_on(self) -> None:
        """Send what the window allows."""
        while self.waiting and (self.ids == FLOOD or len(self.in_flight) < self.window):
            sent = self.waiting.popleft()
            sent.packet_id = self._free_id()
            self.in_flight.append(sent)
            self._send(sent)

    def _free_id(self) -> int:
        if self.ids == LOWEST:
            return min(set(range(1, self.window + 2)) - {each.packet_id for each in self.in_flight})
        self.last_id = self.last_id % (FEW if self.ids == FLOOD else PACKET_IDS) + 1
        return self.last_id

    def receive(self, count: int) -> None:
        """Handle the client's next packets."""
        for _ in range(min(count, len(self.to_broker))):
            kind, packet_id = self.to_broker.popleft()
            if kind == "PINGREQ":
                self.to_client.append(("PINGRESP", 0))
            for each in [one for one in self.in_flight if one.packet_id == packet_id][:1]:
                if kind == "PUBREC":
                    each.is_received = True
                    self._send(each)
                elif kind == ("PUBACK" if each.qos == 1 else "PUBCOMP"):
                    assert each.qos == 1 or each.is_received, "the broker would close the connection"
                    self.in_flight.remove(each)
            self.go_on()

    def lose(self) -> set[int]:
        """Forget the session; give the numbers of what is lost with it."""
        lost = {each.number for each in (*self.in_flight, *self.waiting)}
        self.in_flight.clear()
        self.waiting.clear()
        return lost


@dataclass
class Logged:
    """A message as the gateway has it."""

    entry: Entry
    number: int
    is_repeat: bool
    is_safe: bool = False


class GatewayMachine(RuleBasedStateMachine):
    """A gateway with one lane; subclasses make its session, and say how messages become safe."""

    kinds: tuple[str, ...] = (UPWARDS, LOWEST, FLOOD)
    exact: tuple[str, ...] = (UPWARDS, FLOOD)  # those with which nothing is stored twice
    session: Session
    saved: dict[str, Any] | None = None  # outlives the process

    def make(self) -> Session:
        """Make the session of a new process."""
        raise NotImplementedError

    def make_safe(self, count: int) -> None:
        """Let Kafka have the oldest messages."""
        raise NotImplementedError

    def persist(self, _most: int) -> None:
        """Let the disk have all messages."""
        raise NotImplementedError

    def save_what_is_due(self) -> None:
        """Write what the session must forget."""

    @initialize(ids=st.sampled_from([UPWARDS, LOWEST, FLOOD]), window=st.integers(1, 12))
    def begin(self, ids: str, window: int) -> None:
        self.broker = Broker(ids if ids in self.kinds else self.kinds[0], window)
        self.number = self.offset = 0
        self.stored: list[int] = []  # numbers, in the order in which they became safe
        self.lost: set[int] = set()
        self.may_repeat: set[int] = set()
        self.start()

    def start(self) -> None:
        self.session = self.make()
        if self.broker.ids == FLOOD:
            self.session.packet_ids = FEW
        self.log: list[Logged] = []
        self.connect()

    def connect(self, *, is_present: bool = True) -> None:
        self.queue = (FewHandshakes if self.broker.ids == FLOOD else AckQueue)(self.session)
        self.broker.connect(is_present=is_present)

    # --- what happens ------------------------------------------------------------------------------------------------

    @rule(
        messages=st.lists(
            st.tuples(st.sampled_from([b"0", b"0", b"0", b"1"]), st.sampled_from([1, 1, 1, 2])), max_size=4
        ),
        steps=st.sets(st.sampled_from(STEPS)).map(lambda left_out: [each for each in STEPS if each not in left_out]),
        most=st.sampled_from([100, 100, 1, 2, 3]),
    )
    def turn(self, messages: list[tuple[bytes, int]], steps: list[str], most: int) -> None:
        """Publish messages; each next step is taken or not."""
        is_flood = self.broker.ids == FLOOD
        for payload, qos in messages * AT_ONCE if is_flood else messages:
            self.number += 1
            self.broker.waiting.append(Sent(self.number, payload, 2 if is_flood else qos))
        self.broker.go_on()
        for step in steps:
            getattr(self, step)(most)

    def ping(self, _most: int) -> None:
        self.queue.note_ping()
        self.broker.to_broker.append(("PINGREQ", 0))

    def receive(self, most: int) -> None:
        self.broker.receive(most)

    def read(self, count: int) -> None:
        arrived: list[tuple[Entry, int]] = []
        count = min(count, AT_ONCE) if self.broker.ids == FLOOD else count
        for _ in range(min(count, len(self.broker.to_client))):
            kind, content = self.broker.to_client.popleft()
            if kind == "CONNACK":
                self.resume(is_present=content)
            elif kind == "PINGRESP":
                self.queue.note_answer(len(arrived))
            elif kind == "PUBREL":
                self.session.released.append(content)
            else:
                self.session.uses_qos_2 |= content.qos == 2
                reading = Reading("a", b"t", content.payload, 0, content.qos, dup=content.is_dup)
                arrived.append((Entry(reading, self.queue, content.packet_id), content.number))
        entries = [entry for entry, _ in arrived]
        repeats = self.session.repeats(entries) if entries and self.session.must_look else []
        for entry, number in arrived:
            entry.offset, self.offset = self.offset, self.offset + 1
            self.log.append(Logged(entry, number, any(each is entry for each in repeats)))
        self.session.release()
        self.save_what_is_due()

    def resume(self, *, is_present: bool) -> None:
        if is_present:
            self.session.resume([each.entry for each in self.log if each.entry.packet_id], self.offset)
            return
        for each in self.log:
            each.entry.packet_id = 0
        self.session.clear()

    def become_safe(self, logged: Iterable[Logged]) -> None:
        """Note that messages are in Kafka or on disk, and acknowledge those in front."""
        for each in logged:
            if not each.is_repeat and not each.is_safe:
                self.stored.append(each.number)
            each.is_safe = True
        while self.log and (self.log[0].is_safe or self.log[0].is_repeat):
            entry = self.log.pop(0).entry
            if entry.packet_id and entry.connection:
                entry.connection.acknowledge([entry])

    def flush(self, _most: int = 0) -> None:
        """Send acknowledgements."""
        numbers = self.queue.take_handshakes(self.queue.take())
        self.broker.to_broker.extend([(KINDS[number >> 16], number & 0xFFFF) for number in numbers])

    @rule(how=st.sampled_from(["cut", "cut", "cut", "kill", "lose_session"]))
    def end(self, how: str) -> None:
        """End a connection, a process or a session."""
        getattr(self, how)()

    def cut(self) -> None:
        self.queue.close(self.session)
        self.connect()

    def kill(self) -> None:
        self.start()

    def lose_session(self) -> None:
        if self.broker.ids == FLOOD:  # it would begin with the same packet ids again
            return
        self.may_repeat |= set(self.stored)
        self.lost |= self.broker.lose()
        self.queue.close(self.session)
        self.connect(is_present=False)
        self.read(1)  # if that CONNACK is lost, no client can know that the session it returns to is another one

    # --- what must be true -------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        if self.broker.ids in self.exact:
            repeated = {number for number, times in Counter(self.stored).items() if times > 1}
            assert repeated <= self.may_repeat

    @invariant()
    def order_is_kept(self) -> None:
        first = list(dict.fromkeys(self.stored))
        assert first == sorted(first)

    def teardown(self) -> None:
        while self.broker.waiting or self.broker.in_flight or self.broker.to_client or self.broker.to_broker:
            self.read(1_000)
            self.make_safe(1_000)
            self.flush()
            self.broker.receive(1_000)
        self.make_safe(1_000)
        self.nothing_is_stored_twice()
        self.order_is_kept()
        assert set(self.stored) | self.lost == set(range(1, self.number + 1))
