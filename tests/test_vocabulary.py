"""Names and prose are the field's standard terms: the words that the vocabulary gave up do not come back."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MODULES = sorted((REPOSITORY / "gateway").rglob("*.py"))
TEXTS = [
    *(path for name in ("README", "CONTRIBUTING", "RELEASING", "CHANGELOG") for path in REPOSITORY.glob(f"{name}.md")),
    *(path for folder in ("docs", "deploy", "mosquitto") for path in sorted((REPOSITORY / folder).rglob("*"))),
]
READ_AS_TEXT = {".md", ".yaml", ".service", ".conf", ".py", ""}

FORBIDDEN_WORDS = {
    "judge", "judged", "judges", "condemn", "condemned", "misfit", "misfits", "miss", "letter", "letters", "stray",
    "strays", "visit", "visits", "hearing", "wish", "told", "standing", "standings", "greeter", "puzzled", "wary",
    "way", "ways", "awaited", "goodbye", "excuse",
}  # fmt: skip
FORBIDDEN_PHRASES = re.compile(
    r"\b(nobody|whoever|whom|how it does|serves nothing|asked again|is not believed|are not believed|a deaf manager"
    r"|from another town|pass(es)? us by|shall be told|is told all the same)\b",
    re.IGNORECASE,
)


def _words(identifier: str) -> set[str]:
    """Split an identifier at underscores and capitals; `dead_letter` is a term of its own."""
    split = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)
    words = [word.lower() for word in split]
    return {
        word
        for before, word in zip(["", *words], words, strict=False)
        if not (before == "dead" and word in {"letter", "letters"})
    }


def _identifiers(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME and not keyword.iskeyword(token.string)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_identifiers_use_standard_terms(path: Path) -> None:
    found = {name for name in _identifiers(path.read_text()) if _words(name) & FORBIDDEN_WORDS}
    assert not found


def test_prose_uses_standard_terms() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {match[0]}"
        for path in [*MODULES, *TEXTS]
        if path.is_file() and path.suffix in READ_AS_TEXT
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for match in FORBIDDEN_PHRASES.finditer(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("identifier", "words"),
    [
        ("dead_letters", {"dead"}),
        ("DeadLetterTopic", {"dead", "topic"}),
        ("_letter_of", {"letter", "of"}),
        ("HTTPServer", {"http", "server"}),
        ("StreamWay", {"stream", "way"}),
    ],
)
def test_identifiers_are_split_into_words(identifier: str, words: set[str]) -> None:
    assert _words(identifier) == words
