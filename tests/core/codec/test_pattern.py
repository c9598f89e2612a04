"""Patterns: what they match, that it takes linear time, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.codec.pattern import MAX_STEPS, MAX_WORK, Pattern, UnsupportedPatternError, why_broken

relaxed = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\W", r"\.", "^", "$", "1"])


def repeated(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    quantifiers = st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{2,}", "*?", "{0}"])
    return st.builds("(?:{}){}".format, inner, quantifiers)


patterns = st.recursive(
    atoms,
    lambda inner: (
        repeated(inner)
        | st.lists(inner, max_size=3).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map("|".join).map("(?:{})".format)
    ),
    max_leaves=6,
)


@relaxed
@given(pattern=patterns, text=st.text("ab1.-", max_size=8))
def test_matches_what_python_matches(pattern: str, text: str) -> None:
    """Where both mean the same: no line ends, no characters beyond ASCII."""
    try:
        made = Pattern(pattern)
    except UnsupportedPatternError:
        return
    assert made.matches(text) == (re.search(pattern, text, re.ASCII) is not None)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (r"^\d+$", ["12"], ["12\n", "١٢", ""]),
        (r"^\s$", ["\u00a0", "\ufeff", "\t"], ["x", "\u200b"]),
        (r"^\w$", ["_"], ["é", "\u017f"]),
        ("^.$", ["😀", "é"], ["\n", "\u2028", "😀😀"]),
        (r"^[\]\-\\^a-c]+$", ["]-\\^abc"], ["d"]),
        (r"^[^\d\s]$", ["x"], ["1", " "]),
        ("[^]", ["\n"], [""]),
        ("[]", [], ["", "a"]),
        (r"^\x41\u0042\u{1F600}\t\/$", ["AB😀\t/"], ["AB"]),
        (r"^(?<year>\d{4})-(?:0[1-9]|1[0-2])$", ["2026-12"], ["2026-13"]),
        (r"^[\b]$", ["\b"], ["b"]),
        ("", ["", "x"], []),
        ("a|^b|c$", ["xa", "bx", "xc"], ["xb", "cx"]),
        (r"^[\w-.]+$", ["a-b.c"], ["a b"]),
        (r"^[\d-z]$", ["5", "-", "z"], ["e"]),
        (r"^{[^}]*}$", ["{}", "{x}"], ["x"]),
        (r"^\ud83d\ude00$", ["😀"], ["\ud83d", "😁"]),
        (r"^[\ud83d\ude00-\ud83d\ude02]$", ["😁"], ["😃"]),
    ],
)
def test_matches_as_ecma_262_says(pattern: str, matching: list[str], others: list[str]) -> None:
    """Where Python's `re` differs."""
    made = Pattern(pattern)
    assert [made.matches(text) for text in (*matching, *others)] == [True] * len(matching) + [False] * len(others)


@pytest.mark.parametrize(
    ("text", "why"),
    [("[", "an end in the middle of it"), ("a**", "* without something to repeat"), (r"\p{L}", ""), ("a", ""), (5, "")],
)
def test_only_what_is_no_pattern_anywhere_is_broken(text: object, why: str) -> None:
    assert why_broken(text) == why


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*)*x", r"^(\w+\s?)*$", "a*a*a*a*a*$b"])
def test_matching_never_tracks_back(pattern: str) -> None:
    """Each of these keeps a matcher that tries one path after the other busy for longer than the test may take."""
    assert not Pattern(pattern).matches("a" * 20_000 + "!")


def test_a_text_too_long_for_its_pattern_does_not_match() -> None:
    """The work grows with the length of text times pattern, so it is limited."""
    pattern = Pattern("^(?:a?){98}a*$")  # about 200 instructions
    assert pattern.matches("a" * (MAX_WORK // 400))
    assert not pattern.matches("a" * (MAX_WORK // 100))


def test_steps_are_remembered_up_to_a_limit() -> None:
    pattern = Pattern("^[^x]*$")
    assert pattern.matches("".join(map(chr, range(0x4E00, 0x4E00 + 2 * MAX_STEPS))))
    assert not pattern.matches("".join(map(chr, range(0x4E00, 0x4E00 + MAX_STEPS))) + "x")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?=a)", "looking ahead"), ("(?!a)", "looking ahead"), ("(?<=a)b", "looking behind"),
        ("(?<!a)b", "looking behind"), ("(?i)a", "inline flags"), ("(?P<n>a)", "inline flags"), (r"(a)\1", "escape"),
        (r"(?<n>a)\k<n>", "escape"), (r"\bx", "word boundaries"), (r"\p{L}", "properties of Unicode"),
        (r"\Aa\Z", "escape"), ("a**", "without something to repeat"), ("a++", "without something to repeat"),

        ("a{,3}", "without a first number"), ("{3}", "braces without something to repeat"),
        ("^*", "repeated ^ or $"), ("a{2,1}", "out of order"),
        ("(a", "end in the middle"), ("a)", "closing parenthesis"), ("[a", "end in the middle"), ("\\", "end"),
        ("[z-a]", "range"), (r"\udc00\ud83d", "surrogate"), (r"\ud83d", "surrogate"), (r"\u{110000}", "no code point"),
        (r"\01", "octal"),
        ("a{0,10000}", "repetitions"), ("((a{50}){50}){50}", "repetitions"), ("((()){9999}){9999}", "repetitions"),
        ("(" * 100 + ")" * 100, "inside each other"),
    ],
)  # fmt: skip
def test_a_pattern_that_cannot_be_matched_is_refused(pattern: str, why: str) -> None:
    """What ECMA-262 does not have, and what no automaton can do."""
    with pytest.raises(UnsupportedPatternError, match=re.escape(why)):
        Pattern(pattern)
