"""Warns of what looks like a secret in a contract, because many people read it.

Names are compared word by word, and only where they have a value of their own: a field `token` of a payload has a
schema, and what examples say is data. Placeholders are no secrets. Private keys, tokens and URLs with a password are
found in every text. No finding quotes a value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.contract.server import IN_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.contract.document import Node
    from gateway.contract.findings import Findings

WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
NUMERIC = r"passwd|password|pwd|secret"  # may be a number
SECRET = rf"{NUMERIC}|passphrase|token|jwt|credential|apikey|(?:api|access|account|private|secret|shared) key"
NAMES = {str: re.compile(rf"(?:.* )?(?:{SECRET})s?|(?:x )?pass"), int: re.compile(rf"(?:.* )?(?:{NUMERIC})")}
PLACEHOLDER = re.compile(r"\s*(?:\$.*|.*\{.*\}.*|<.*>|\*+|x{3,}|\.{3})?\s*", re.IGNORECASE)
DATA = {"const", "default", "enum", "example", "examples"}
TEXTS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
    (re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"), "a token"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "an access key"),
    (re.compile(r"(?i)\b(?:SharedAccess|Account)Key\s*=\s*[a-z0-9+/]{16}"), "an access key"),
    (re.compile(r"\bSharedAccessSignature sr=\S+&sig=(?![{<$])|\bgh[oprsu]_[A-Za-z0-9]{36}\b"), "a token"),
    (re.compile(r"(?i)(?:basic|bearer) [a-z0-9+/_.-]{16,}=*"), "a login"),
    (re.compile(r"(?i)\bpassw(?:or)?d\s*=\s*[\"']?(?![\s\"'<${*.])"), "a password"),
    (re.compile(r"(?i)[a-z][a-z0-9+.-]*://[^\s/@:]*:(?!(?:pass(?:word)?|pwd)@)[^\s/@<${*]+@"), "a password in a URL"),
)


def check(roots: Iterable[Node], findings: Findings) -> None:
    """Warn of what looks like a secret."""
    for root in roots:
        for node, name in _scalars(root):
            what = next((what for pattern, what in TEXTS if node.text and pattern.search(node.text)), "")
            if what and name != "schemaRegistryUrl":  # `server.py` reports it
                findings.warning(node, f"The text has {what}, and a contract is published.", IN_FILES)
            elif not what and _is_secret(node, name):
                findings.warning(node, f"{name!r} looks like a secret, and a contract is published.", IN_FILES)


def _scalars(root: Node) -> Iterator[tuple[Node, str]]:
    """Every value that is neither a mapping nor a list, with the name of the member that has it or its list."""
    for node in root.inside():
        of_list = "" if node.is_mapping else (node.tokens or ("",))[-1]
        for key, value in node.items():
            if not isinstance(value, dict | list):
                yield node.own(key), of_list or key


def _is_secret(node: Node, name: str) -> bool:
    if len(node.tokens) == 3 and node.tokens[0] == "servers" and not name.startswith("x-"):
        return False  # no member of a server, which `forms.py` reports
    if name == "default" and node.tokens[-3:-2] == ("variables",):
        name = node.tokens[-2]
    elif DATA & set(node.tokens[:-1]):
        return False
    pattern = NAMES.get(type(node.value))
    words = " ".join(WORD.findall(name)).lower()
    is_placeholder = node.text is not None and PLACEHOLDER.fullmatch(node.text) is not None
    return pattern is not None and pattern.fullmatch(words) is not None and not is_placeholder
