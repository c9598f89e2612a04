"""Errors of the codec, and JSON pointers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.validation_error import SHOWN, ValidationError, pointer, shown, tokens
from gateway.core.reading import DeadLetter, Reason


@given(path=st.lists(st.text()).map(tuple))
def test_tokens_reads_what_pointer_writes(path: tuple[str, ...]) -> None:
    """Slashes and tildes in names survive."""
    assert tokens(pointer(path)) == path


def test_under_puts_the_place_below() -> None:
    error = ValidationError(Reason.MISSING, "detail", "c").under("a/b").under("x~")
    assert error.dead_letter() == DeadLetter(Reason.MISSING, "/x~0/a~1b/c", "detail")


@given(value=st.text() | st.integers() | st.decimals(allow_nan=False))
def test_shown_is_short_and_printable(value: object) -> None:
    """Whatever a device sends, a detail quotes a little of it in ASCII."""
    assert len(shown(value)) <= SHOWN + len("...")
    assert shown(value).isascii()
    assert shown(value).isprintable()
