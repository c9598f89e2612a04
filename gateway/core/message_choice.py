"""Which of several messages a payload is, by the members that tell them apart.

Exactly one message must fit. No two of them share a payload, because the contract is refused otherwise; so at most one
message is left when all places that tell two apart have been looked at, and its own validation decides.

The choice is made in two ways, with the same result. The compiled one looks at as few places as tell all pairs apart,
each by a table from value or class to a set of messages, and intersects the sets; none is tried. It may leave a message
that does not fit, which its validation then shows, or raise. `remaining` looks at all these places, and decides on
every payload that did not become a record at once. There the kind of a value counts only where nothing else tells two
messages apart: text for a number is an error of the message that has this member, and not a payload of no message.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING, Any

from gateway.core.codec.json_text import ABSENT
from gateway.core.codec.keywords import scalar_of
from gateway.core.codec.source_text import SourceWriter
from gateway.core.codec.unsupported import FallBack
from gateway.core.message_demands import KIND_OF, order, value_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.core.message_demands import Demand, Demands, Place


def telling(one: Demands, other: Demands) -> list[Place]:
    """List the places at which no payload meets the demands of both."""
    places = {*one.places, *other.places}
    places |= {(*path, name) for each in (one, other) for path, names in each.closed.items() for name in names}
    return sorted((path for path in places if one.at(path).excludes(other.at(path))), key=order)


class MessageChoice:
    """Chooses among messages by their demands, any two of which are told apart."""

    def __init__(self, demands: Sequence[Demands]) -> None:
        self._demands = demands
        pairs = {pair: telling(*(demands[each] for each in pair)) for pair in combinations(range(len(demands)), 2)}
        self._few = _fewest(pairs)
        self._places = _places(demands, pairs)

    def remaining(self, value: Any) -> list[int]:
        """List the messages, at most one, that a payload may be by the places that tell messages apart."""
        left = list(range(len(self._demands)))
        for path, demands in self._places.items():
            found = value_at(value, path)
            left = [each for each in left if demands[each].takes(found)]
        return left

    def nearest(self, value: Any, among: Iterable[int]) -> tuple[int, Place]:
        """Find of some messages the one with the fewest failed demands, and the first place that tells it apart.

        Of equal messages it is the first. The payload fits none.
        """
        number = min(among, key=lambda each: len(self._demands[each].failed(value)))
        places = self._places.items()
        return number, next(path for path, demands in places if not demands[number].takes(value_at(value, path)))

    # --- compiled ----------------------------------------------------------------------------------------------------

    def compiled(self) -> Callable[[Any], int]:
        """Compile the choice: a payload, parsed without Decimals, to the set of its messages; it may raise, anything.

        A set has the bit `1 << number` of each message. This is the code for two places, the second inside `params`:

            v1 = payload.get('method', ABSENT)
            set2 = (v1.__class__ is str and texts3.get(v1)) or kinds4[v1.__class__]
            v5 = payload.get('params', ABSENT)
            v6 = v5.get('em:0', ABSENT) if v5.__class__ is dict else ABSENT
            set7 = kinds8[v6.__class__]
            return set2 & set7
        """
        program = SourceWriter()
        program.bound |= {"ABSENT": ABSENT, "FallBack": FallBack}
        with program.block("def choose(payload):"):
            sets = [self._write_place(program, path) for path in self._few]
            program.line(f"return {' & '.join(sets)}")
        choose: Callable[[Any], int] = program.compile("<choice of a message>")["choose"]
        return choose

    def _write_place(self, program: SourceWriter, path: Place) -> str:
        """Write the look-up of the messages that take what is at a place; give the variable of their set."""
        value = "payload"
        for depth, name in enumerate(path):
            is_object = not depth and all(each.at(()).kinds == {"object"} for each in self._demands)
            guard = "" if is_object else f" if {value}.__class__ is dict else ABSENT"
            several = [] if isinstance(name, str) else [f"{one!r} in {value}" for one in name]
            found = f"({' or '.join(several)} or ABSENT)" if several else f"{value}.get({name!r}, ABSENT)"
            value = program.let("v", f"{found}{guard}")
        kinds = program.bind("kinds", self._sets_of_kinds(path))
        values = self._sets_of_values(path)
        if all(of is str for of, _ in values):
            texts = program.bind("texts", {each: members for (_, each), members in values.items()})
            listed = f"({value}.__class__ is str and {texts}.get({value})) or " if values else ""
        else:  # true is not 1, and digits of a fraction may be lost
            program.line(f"if {value}.__class__ is float: raise FallBack")
            listed = f"{program.bind('values', values)}.get(({value}.__class__, {value})) or "
        return program.let("set", f"{listed}{kinds}[{value}.__class__]")

    def _sets_of_kinds(self, path: Place) -> dict[type, int]:
        """The messages that take any value of a class; of those that list values, what they take beside them."""

        def takes(each: Demand, kind: str) -> bool:
            return kind in each.kinds and (each.values is None or kind == "absent")

        return {one: _set(takes(each.at(path), kind) for each in self._demands) for one, kind in KIND_OF.items()}

    def _sets_of_values(self, path: Place) -> dict[tuple[type, Any], int]:
        """The messages that take each value that one of them lists, by class and value; numbers are integers."""
        demands = [each.at(path) for each in self._demands]
        listed = [scalar_of(value) for each in demands for value in each.values or ()]
        values = [int(value) if isinstance(value, Decimal) and value == int(value) else value for value in listed]
        return {(type(value), value): _set(each.takes(value) for each in demands) for value in values}


def _set(is_member: Iterable[bool]) -> int:
    """Write a set of messages as bits."""
    return sum(1 << number for number, each in enumerate(is_member) if each)


def _fewest(pairs: Mapping[tuple[int, int], Sequence[Place]]) -> list[Place]:
    """Choose few places that tell all pairs apart: again and again the one that does so for the most that are left."""
    left = set(pairs)
    few: list[Place] = []
    while places := sorted({path for pair in left for path in pairs[pair]}, key=order):
        few.append(max(places, key=lambda path: sum(path in pairs[pair] for pair in left)))
        left = {pair for pair in left if few[-1] not in pairs[pair]}
    return few


def _places(demands: Sequence[Demands], pairs: Mapping[tuple[int, int], Sequence[Place]]) -> dict[Place, list[Demand]]:
    """Give the places that tell messages apart, the outermost first, each with what it demands for each message."""
    exact: set[Place] = {()}
    loose: set[Place] = set()
    for pair, places in pairs.items():
        one, other = (demands[each] for each in pair)
        apart = [path for path in places if one.at(path).of_any_kind.excludes(other.at(path).of_any_kind)]
        loose.update(apart)
        exact.update(places if not apart else ())
    # a message that only lacks members of the others is also known by those it requires
    for number, its in enumerate(demands):
        own = (path for pair, places in pairs.items() if number in pair for path in places)
        if all("absent" in its.at(path).kinds for path in own):
            loose.update(path for path, demand in its.places.items() if "absent" not in demand.kinds)
    every = sorted(exact | loose, key=order)
    stated = {path: [each.at(path) for each in demands] for path in every}
    return {path: its if path in exact else [each.of_any_kind for each in its] for path, its in stated.items()}
