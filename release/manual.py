"""gateway(1), generated from the commands, so that `--help` and the manual page cannot differ.

roff is small enough to write by hand: one macro per line, and two characters to escape. help2man and a Markdown
converter were rejected: each is one more build dependency, and neither supports subcommands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from gateway import __version__
from gateway.cli import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {
    "/etc/gateway/gateway.yaml": "Settings of this installation; its comments are the reference.",
    "/etc/gateway/asyncapi.yaml": "The contract: the streams and the form of their messages. "
    "Its Avro schemas are in /etc/gateway/schemas.",
    "/etc/gateway/secrets": "Passwords and keys, which systemd passes to the service (LoadCredential).",
    "/var/lib/gateway": "The spool and the pinned schema ids.",
}
EXIT_CODES = {
    "0": "Success, or stopped by a signal.",
    "1": "An error, or a negative result; the help of the command says which.",
    "2": "The command line is wrong.",
    "69": "The running gateway, or another peer, does not respond.",
    "73": "Another process holds the spool.",
    "74": "The disk under the spool fails.",
    "78": "The contract or the settings are wrong.",
}


def page(date: str) -> str:
    """Write the page.

    Args:
        date: of the release, as 2026-01-31.

    Returns:
        roff, as man(7) says.
    """
    root = typer.main.get_command(make_app())
    lines = [
        f'.TH GATEWAY 1 "{date}" "gateway {__version__}" "User Commands"',
        *(".nh", ".ad l"),  # whole words, ragged: options are copied from here
        *(".SH NAME", rf"gateway \- {_text('from MQTT to Kafka, Avro-checked, in order, nothing lost')}"),
        *(".SH SYNOPSIS", ".B gateway", ".I COMMAND", "[\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]"),
        *(".SH DESCRIPTION", *_paragraphs(root.help or "")),
        *(".SH COMMANDS", *_commands(root, "gateway")),
        *(".SH FILES", *_terms(FILES)),
        *(
            ".SH ENVIRONMENT",
            *_terms({"GATEWAY_SECTION__KEY": "Overrides a setting, as in GATEWAY_SPOOL__LIMIT=1GiB."}),
        ),
        *(".SH EXIT STATUS", *_terms(EXIT_CODES)),
        *(".SH SEE ALSO", ".BR systemctl (1),", ".BR journalctl (1),", ".BR mosquitto (8)"),
    ]
    return "\n".join(lines) + "\n"


def _commands(group: Any, name: str) -> Iterator[str]:
    for word, command in getattr(group, "commands", {}).items():
        full_name = f"{name} {word}"
        if getattr(command, "commands", None):
            yield from _commands(command, full_name)
        else:
            yield from _command(command, full_name)


def _command(command: Any, name: str) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    yield f'.SS "{_text(name)} {_text(" ".join(command.collect_usage_pieces(context)))}"'
    yield from _paragraphs(command.help or "")
    records = (parameter.get_help_record(context) for parameter in command.params)
    yield from _terms(dict(record for record in records if record))


def _terms(terms: dict[str, str]) -> Iterator[str]:
    for term, meaning in terms.items():
        yield from (".TP", rf"\fB{_text(term)}\fR", _text(meaning))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from (".PP", _text(" ".join(paragraph.split())))


def _text(text: str) -> str:
    r"""Escape: a backslash begins a request of roff's, a bare hyphen is typeset as a dash; lines may break at a bar."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq").replace("|", r"|\:")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
