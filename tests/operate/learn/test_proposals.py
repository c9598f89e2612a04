"""What is proposed of messages: names, units, times, kinds of messages, what is left out and what is ignored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.operate.learn.evidence import Traffic
from gateway.operate.learn.findings import COMMAND, NOTHING_FITS, lines, propose
from gateway.operate.learn.score import StreamScore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.operate.learn.findings import Proposal
    from gateway.operate.learn.proposal import Stream

NOW = 1_796_000_000_000
Messages = list[tuple[str, Any]]


def heard(messages: Iterable[tuple[str, Any]]) -> Traffic:
    """Hear messages, a second apart; payloads are bytes, or values that become JSON."""
    traffic = Traffic()
    for number, (topic, value) in enumerate(messages):
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        traffic.take(topic.encode(), payload, NOW + 1000 * number)
    return traffic


def proposed(messages: Iterable[tuple[str, Any]]) -> Proposal:
    return propose(heard(messages), None, shows_values=True)


def only(messages: Iterable[tuple[str, Any]]) -> Stream:
    [stream] = proposed(messages).streams
    return stream


def field(messages: Iterable[tuple[str, Any]], name: str) -> dict[str, Any]:
    [message] = only(messages).messages
    return next(one for one in message.definition["fields"] if one["name"] == name)


@pytest.mark.parametrize(
    ("member", "name", "unit"),
    [("pressure_kPa", "pressure_kpa", "kPa"), ("total_kWh", "total_kwh", "kWh"), ("powerW", "power_w", "W"),
     ("e_MWh", "e_mwh", "MWh"), ("p_mW", "p_mw", "mW"),
     ("i_mA", "i_ma", "mA"), ("u_mV", "u_mv", "mV"), ("p_hPa", "p_hpa", "hPa"), ("freq_kHz", "freq_khz", "kHz"),
     ("s_kVA", "s_kva", "kVA"), ("rssi_dBm", "rssi_dbm", "dBm"), ("energy_Wh", "energy_wh", "Wh"),
     ("wind_kmh", "wind_kmh", "km/h"), ("flow_lpm", "flow_lpm", "l/min"), ("temp_C", "temp_c", "Cel")],
)  # fmt: skip
def test_a_unit_with_its_prefix_is_one_word(member: str, name: str, unit: str | None) -> None:
    assert field([("tyres/1", {member: number + 0.5}) for number in range(9)], name).get("unit") == unit


def test_the_time_of_the_record_is_never_null_and_the_nearest_to_the_arrival() -> None:
    """Not the first one, nor the start of the minute."""
    now = [NOW // 1000 + number for number in range(120)]
    messages = [("cam/a", {"ended": one if one % 2 else None, "minute": one // 60 * 60, "seen": one}) for one in now]
    assert only(messages).messages[0].timestamp == "seen"


def test_seconds_since_1970_in_text_are_times() -> None:
    found = field([("hosts/a", {"clock": str(NOW // 1000 + number)}) for number in range(9)], "clock")
    assert found["type"]["logicalType"] == "timestamp-millis"
    assert found["x-source"] == {"parse": "number", "factor": 1000}


def test_zero_among_times_is_null_and_a_time_among_numbers_is_none() -> None:
    times = [0, *(NOW // 1000 + number for number in range(1, 9))]
    assert field([("jobs/a", {"done": one}) for one in times], "done")["x-source"] == {"factor": 1000, "nulls": [0]}
    assert field([("jobs/a", {"done": one}) for one in [1, *times[1:]]], "done")["type"] == "long"


def test_a_start_that_never_changes_is_no_clock() -> None:
    at = [f"2026-11-30T00:53:{second:02}Z" for second in range(20, 40)]
    stream = only([("meters/a", {"since": "2023-01-01T00:00:00Z", "at": one}) for one in at])
    assert stream.messages[0].timestamp == "at"
    assert not [one for one in stream.notes if "within a day" in one.text]


def test_a_wrong_clock_is_named_where_others_are_right() -> None:
    good = [(f"press/{number % 3}", {"ts": NOW // 1000 + number}) for number in range(30)]
    bad = [("press/bad", {"ts": 1_104_625_548 + number}) for number in range(9)]
    assert any("It is wrong in press/bad." in one.text for one in only([*good, *bad]).notes)


def test_a_clock_that_stands_still_before_2010_was_never_set() -> None:
    stream = only([("meters/a", {"ts": "2005-01-01T00:00:00Z"})] * 9)
    assert any("the earliest is of 2005" in one.text for one in stream.notes)


def test_the_start_of_a_total_is_no_time_of_the_record_though_it_is_near() -> None:
    messages = [("meters/a", {"since": "2026-11-30T00:00:00Z", "t": number}) for number in range(9)]
    assert only(messages).messages[0].timestamp == ""


def test_a_wrong_clock_of_a_family_is_named() -> None:
    """The start of its total, which is years ago, is no clock."""
    energy = {"TotalStartTime": "2023-11-14T18:39:40", "Total": 6.294, "Today": 0.954, "Power": 2635}
    times = {"good": "2026-11-30T00:53:{:02}", "bad": "2005-01-01T00:00:{:02}"}
    [family] = proposed([
        (f"tele/{name}/SENSOR", {"Time": text.format(20 + number), "ENERGY": energy})
        for number in range(9) for name, text in times.items()
    ]).families  # fmt: skip
    [note] = [one for one in family.notes if one.pointer != "zone"]
    assert note.pointer == "/Time"
    assert note.text.endswith("It is wrong in tele/bad/SENSOR.")


def test_values_that_are_times_and_others_have_streams_of_their_own() -> None:
    """Else one of them would be a time in 1970."""
    messages = [(f"N/{number % 2}/{what}", {"value": value}) for number in range(40)
                for what, value in (("alive", 1), ("published", NOW // 1000 + 2 * number))]  # fmt: skip
    assert sorted(one.address for one in proposed(messages).streams) == ["N/{level2}/alive", "N/{level2}/published"]


@pytest.mark.parametrize(
    ("values", "form"),
    [(["12,5", "13,75"], "a decimal comma"), (["45 %", "46 %"], "their unit"), (["23.5 °C"], "their unit"),
     (["30.11.2026 08:08:00"], "ISO 8601"), (["11/30/2026 08:08 AM"], "ISO 8601")],
)  # fmt: skip
def test_text_of_which_an_expert_would_make_more_is_reported(values: list[str], form: str) -> None:
    assert any(f"{form}; kept as text." in one.text for one in only([("a/b", {"v": one}) for one in values]).notes)
    assert not only([("a/b", {"v": one}) for one in [*values, "0.14.1", "open"]]).notes


def test_integers_beyond_64_bits_are_kept_as_text_and_all_fit() -> None:
    found = field([("num/a", {"v": 99999999999999999999 + number}) for number in range(9)], "v")
    assert (found["type"], found["x-source"]) == ("string", {"parse": "string"})
    assert proposed([("num/a", {"v": one}) for one in (2**64 - 1, 1.5)]).left_out == {"num/a": NOTHING_FITS}
    assert proposed([("num/b", b'{"v": 1e400}')]).left_out["num/b"] == "a number beyond 64 bits of floating point"


def test_a_member_that_was_always_null_may_become_anything() -> None:
    found = field([("a/b", {"x": 1, "limit": None})] * 9, "limit")
    assert found["type"] == ["null", "double", "string", "boolean"]


def test_a_rare_member_makes_no_message_of_its_own() -> None:
    """Its readings would go to another topic, out of order."""
    messages = [("pumps/a", {"v": number}) for number in range(238)] + [("pumps/a", {"v": 100, "rare": "once"})]
    found = field(messages, "rare")
    assert (found["type"], found["doc"]) == (["null", "string"], "1 of 239 samples: once.")
    assert len(only([*messages, ("pumps/a", {"error": 7})]).messages) == 1


@pytest.mark.parametrize("often", [0.05, 0.4, 0.95])
@pytest.mark.parametrize("first", [True, False])
def test_a_member_that_is_absent_at_times_makes_no_message_of_its_own(often: float, *, first: bool) -> None:
    """Whichever form was received first, and how often; it is null where it is absent, not 0."""

    def state(number: int) -> dict[str, Any]:
        has_level = (number * 37 % 100 < 100 * often) == first
        return {"name": "x", "t": 5.5, **({"level": 1 + number % 3} if has_level else {})}

    messages = [(f"tank/t{number % 3}/state", state(number)) for number in range(300)]
    found = field(messages, "level")
    assert (found["type"], found["default"]) == (["null", "long"], None)


def test_devices_with_an_optional_member_each_are_one_record() -> None:
    """A reading without its member does not become that of another device."""
    forms: dict[str, tuple[str, dict[str, Any]]] = {
        "o1": ("rain", {"t": 5.5}), "o2": ("level", {"t": 5.5, "name": "x"}), "o3": ("battery", {"temp": 20.5}),
    }  # fmt: skip
    messages = [(f"{name}/d{number % 3}/s", form | ({optional: 1 + number % 3} if number % 5 < 2 else {}))
                for number in range(200) for name, (optional, form) in forms.items()]  # fmt: skip
    for stream in proposed(messages).streams:
        assert len(stream.messages) == 1
        fields = {one["name"]: one for one in stream.messages[0].definition["fields"]}
        assert all(fields[name]["default"] is None for name in ("rain", "level", "battery") if name in fields)


def test_zero_is_left_out_where_several_members_are_and_none_is_zero() -> None:
    every = [{"people": number % 3, "dark": number % 2 == 0, "n": number + 1} for number in range(90)]
    messages = [("doors/a", {name: one for name, one in each.items() if one}) for each in every]
    assert field(messages, "people")["default"] == 0
    assert field([(topic, {**one, "dark": "dark" in one}) for topic, one in messages], "people")["default"] is None


def test_messages_without_common_members_are_several() -> None:
    messages = [("line/a", {"flow": 1.5} if number % 2 else {"position": 3}) for number in range(60)]
    assert sorted(one.name for one in only(messages).messages) == ["line_a_flow", "line_a_position"]


def test_a_parameter_is_not_tied_to_a_member_that_only_some_messages_have() -> None:
    """The contract would have to describe it in all of them."""
    messages = [(f"plant/m{number % 9}/s{kind}", {"machine": f"m{number % 9}", "v": 1.5} if kind else {"on": True})
                for number in range(90) for kind in range(3)]  # fmt: skip
    stream = only(messages)
    assert len(stream.messages) == 2
    assert [one.pointer for one in stream.parameters] == [(), ()]


def test_commands_are_left_out_and_ignored_where_a_stream_brings_them() -> None:
    rooms = [(f"rooms/{room}/{what}", 21.5) for room in "abc" for what in ("x1", "x2", "set")]
    made = proposed([*rooms, ("cmnd/plug/POWER", b"ON"), ("lamps/a/set/state", b"ON")])
    assert {topic for topic, why in made.left_out.items() if why == COMMAND} == {
        "cmnd/plug/POWER", "lamps/a/set/state", *(f"rooms/{room}/set" for room in "abc"),
    }  # fmt: skip
    [stream] = made.streams
    parameters = [f"{{{one.name}}}" for one in stream.parameters]
    assert stream.address == f"rooms/{'/'.join(parameters)}"
    assert [one.text for one in made.ignored] == [f"rooms/{parameters[0]}/set"]


def test_availability_beside_readings_is_ignored_once_for_all_devices() -> None:
    """A device that comes later is ignored as well."""
    messages = [(f"shellies/s-{number}/{what}", value) for number in range(3)
                for what, value in (("t1", 21.5), ("t2", 22.5), ("online", b"online"))]  # fmt: skip
    made = proposed(messages)
    [address] = made.ignored
    assert address.match("shellies/s-99/online") is not None
    assert address.match("shellies/s-99/t1") is None


def test_a_topic_may_begin_with_a_slash_and_others_say_why_they_cannot_be_learnt() -> None:
    made = proposed([("/lead/pump", {"v": 1.5}), ("a/{b}", 1), ("x/" * 12 + "x", 1)])
    assert [one.address for one in made.streams] == ["/lead/pump"]
    assert [why for _, why in sorted(made.left_out.items())] == [
        "a topic with { } + or #, which addresses cannot have", "a topic of more than 12 levels",
    ]  # fmt: skip


def test_what_gives_no_field_is_no_stream() -> None:
    made = proposed([("deep/a", {}), ("bom/a", b"\xef\xbb\xbf{}"), ("good/a", {"v": 1.5})] * 3)
    assert made.left_out == {
        "deep/a": NOTHING_FITS, "bom/a": "text after a byte order mark, which JSON does not have",
    }  # fmt: skip


def test_members_beyond_the_limit_are_reported() -> None:
    stream = only([("big/a", {f"m{number}": number for number in range(300)})] * 3)
    assert "100 members of a payload were not looked at: 200 of a topic, 75,000 in all, 8 levels." in {
        one.text for one in stream.notes
    }  # fmt: skip


def test_reasons_stand_once_with_the_sum_of_their_messages() -> None:
    traffic = heard([(f"cam/{number % 3}", b"\xff\xd8") for number in range(80)])
    shown = list(lines(traffic, propose(traffic, None, shows_values=True), {"unmapped": StreamScore(received=80)}))
    assert "  binary (80 messages): cam/0, cam/1, cam/2" in shown


def test_streams_have_names_that_say_something() -> None:
    venus = [(f"N/c0619ab93165/{path}", {"value": 1.5}) for path in ("grid/30/Power", "battery/512/Soc", "a/0/B")]
    assert all(one.name.startswith("venus_os") for one in proposed(venus).streams)
    assert only([("m", {"v": 1})]).name == "m_readings"


def test_devices_at_the_first_level_get_addresses_of_their_own_beside_others() -> None:
    """One address for all would make the gateway subscribe to everything."""
    devices = [(f"86000{number}/data", {"speed": number + 0.5}) for number in range(5)]
    assert [one.address for one in proposed(devices).streams] == ["{level1}/data"]
    deep = [(f"site/{place}/climate", {"t": 1.5, "h": 2.5}) for place in ("a", "b/c", "d/e/f")]
    beside = {one.address for one in proposed([*devices, *deep]).streams}
    assert beside >= {f"86000{number}/data" for number in range(5)}


def test_the_zone_of_a_family_is_that_of_the_clocks() -> None:
    def tele(ahead: str) -> Messages:
        energy = {"TotalStartTime": "2023-11-14T18:39:40", "Total": 6.294, "Today": 0.954, "Power": 2635}
        return [(f"tele/p{device}/SENSOR", {"Time": f"2026-11-{ahead}:53:2{device}", "ENERGY": energy})
                for device in range(3)]  # fmt: skip

    for ahead, zone, note in (
        ("30T00", "UTC", "The clocks are +0 h from UTC: it is UTC"),
        ("30T01", "Europe/Vienna", "It is Europe/Vienna in the .avsc files, as the clocks show now"),
        ("30T02", "Etc/GMT-2", "The clocks are +2 h from UTC: it is Etc/GMT-2"),
        ("29T19", "Etc/GMT+5", "The clocks are -5 h from UTC: it is Etc/GMT+5"),
        ("20T19", "Europe/Vienna", "which no clock has shown"),
    ):
        [family] = proposed(tele(ahead)).families
        assert f'"zone": "{zone}"' in "".join(family.family.schemas.values())
        assert any(note in one.text for one in family.notes)
