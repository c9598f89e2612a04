"""The locks are read as they are written."""

from __future__ import annotations

import pytest

from release import lock

DIGEST = "a" * 64
TEXT = f"""# Made by `make lock`; do not edit.
attrs==26.1.0 \\
    --hash=sha256:{DIGEST} \\
    --hash=sha256:{DIGEST.replace("a", "b")}
    # via
    #   iot-gateway (pyproject.toml)
    #   jsonschema
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{DIGEST}
    # via typer
"""


def test_parse_reads_pins_markers_and_who_wants_them() -> None:
    """A package has its version, its marker, every hash, and those that it is there for."""
    attrs, colorama = lock.parse(TEXT)
    assert (attrs.name, attrs.version, attrs.hashes) == ("attrs", "26.1.0", (DIGEST, DIGEST.replace("a", "b")))
    assert attrs.wanted_by == ("iot-gateway", "jsonschema")
    assert (colorama.marker, colorama.wanted_by) == ("sys_platform == 'win32'", ("typer",))


@pytest.mark.parametrize(
    ("text", "said"),
    [("attrs==26.1.0\n", "no hash for attrs"), ("attrs>=26\n", "line 1 is no line of a lock: 'attrs>=26'")],
)
def test_parse_refuses_what_is_not_locked(text: str, said: str) -> None:
    """A package without a hash or without a version is no lock."""
    with pytest.raises(ValueError, match=said):
        lock.parse(text)


def test_packages_are_those_of_linux() -> None:
    """What only Windows installs is not handed out."""
    names = {package.name for package in lock.packages("run")}
    assert "confluent-kafka" in names
    assert "colorama" not in names
