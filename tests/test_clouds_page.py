"""`docs/clouds.md` is true: `gateway check` accepts every contract and gateway.yaml that it shows."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.stack.gateway import ROOT
from tests.test_cli import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.certificates import Certificates

STREAMS = ROOT / "docs" / "steps" / "4"  # a contract to which the servers are added
PAGE = (ROOT / "docs" / "clouds.md").read_text()
SECTIONS = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
BLOCKS = {name: re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for name, text in SECTIONS.items()}
SHOWN = [(name, number) for name, blocks in BLOCKS.items() for number in range(1, len(blocks))]


def files_of(settings: Any) -> set[str]:
    """The files that settings name."""
    if not isinstance(settings, dict):
        return set()
    inner = set().union(*map(files_of, settings.values()))
    return inner | {value for key, value in settings.items() if key.endswith("_file")}


@pytest.mark.parametrize(("name", "number"), SHOWN)
def test_check_accepts_what_the_page_shows(name: str, number: int, tmp_path: Path, certificates: Certificates) -> None:
    shutil.copytree(STREAMS, tmp_path, dirs_exist_ok=True)
    contract = yaml.safe_load((tmp_path / "asyncapi.yaml").read_text())
    contract |= yaml.safe_load(BLOCKS[name][0])
    (tmp_path / "asyncapi.yaml").write_text(yaml.safe_dump(contract, sort_keys=False))
    (tmp_path / "gateway.yaml").write_text(BLOCKS[name][number])
    for file in files_of(yaml.safe_load(BLOCKS[name][number])):
        kinds = {".pem": certificates.certificate("client"), ".key": certificates.key("client")}
        path = tmp_path / file
        path.touch(0o600)
        path.write_bytes(kinds[path.suffix].read_bytes() if path.suffix in kinds else b"secret\n")
    done = command("check", "-c", "gateway.yaml", folder=tmp_path)
    assert done.stderr == ""
    assert "fit to run" in done.stdout
    assert done.returncode == 0


def test_the_table_has_every_section() -> None:
    listed = re.findall(r"^\| \[([^]]+)\]", PAGE, re.MULTILINE)
    assert listed == [name for name, blocks in BLOCKS.items() if blocks]
