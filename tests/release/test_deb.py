"""The Debian package: what is in it, that it runs from there, and what installing, upgrading and removing it leave.

dpkg works on a folder as its root and runs the scripts against that folder (`--force-script-chrootless`), so none of
this needs root or touches the machine. `make test-arm64` runs the other architecture.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import __version__
from gateway.operate.init import family as families
from release import deb, wheels
from release.lock import REPOSITORY
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.conftest import FreePort

ARCHITECTURE = subprocess.run(
    ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
).stdout.strip()
ELF_MACHINES = {"amd64": 62, "arm64": 183}
TIMEOUT = 120


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package of this machine's kind; uncompressed, which is quick."""
    return deb.build(ARCHITECTURE, tmp_path_factory.mktemp("dist"), compression="none")


@pytest.fixture(scope="module")
def root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the package."""
    folder = tmp_path_factory.mktemp("root")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder


def members(package: Path) -> list[tarfile.TarInfo]:
    """List what dpkg would unpack."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            return list(archive)


def field(package: Path, name: str) -> str:
    """Read a field of the package's control file."""
    told = subprocess.run(["dpkg-deb", "--field", package, name], check=True, capture_output=True, text=True)
    return told.stdout.strip()


def run(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the packaged gateway with a bare environment, as its first line says, with this Python."""
    command = [sys.executable, "-IS", str(root / "usr/bin/gateway"), *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd="/", timeout=TIMEOUT
    )


def test_control_asks_for_debians_python_and_no_other_package_manager(package: Path) -> None:
    """Everything but the interpreter and the C library is inside."""
    assert package.name == f"gateway_{deb.version()}_{ARCHITECTURE}.deb"
    assert (field(package, "Package"), field(package, "Architecture")) == ("gateway", ARCHITECTURE)
    depends = {each.split()[0] for each in field(package, "Depends").split(", ")}
    assert depends == {"python3", "libc6", "libgcc-s1", "libstdc++6", "tzdata"}
    assert "python3 (>= 3.11), python3 (<< 3.15)" in field(package, "Depends")


@pytest.mark.parametrize("candidate", ["1.0rc1", "1.0b2", "1.0.dev3"])
def test_version_of_a_candidate_comes_before_the_release(candidate: str) -> None:
    """Debian would order 1.0rc1 after 1.0; the tilde puts it before."""
    subprocess.run(["dpkg", "--compare-versions", deb.version(candidate), "lt", deb.version("1.0")], check=True)


def test_files_belong_to_root_and_have_plain_modes(package: Path) -> None:
    """Nobody but root may change any of it, nothing is setuid, and secrets are not even listed to others."""
    found = members(package)
    assert {(each.uname, each.gname) for each in found} == {("root", "root")}
    odd = {(each.name, oct(each.mode)) for each in found if each.mode != (0o755 if each.isdir() else 0o644)}
    assert odd == {("./etc/gateway/secrets", "0o700"), ("./usr/bin/gateway", "0o755")}


def test_tree_is_where_debian_has_things(root: Path) -> None:
    """Settings, program, units, manual, completion and documents each have their place; state is not shipped."""
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    outside = {name for name in files if not name.startswith(("usr/lib/gateway/", "usr/share/doc/gateway/"))}
    schemas = {f"etc/gateway/schemas/{path.name}" for path in (REPOSITORY / "schemas").iterdir()}
    assert outside == schemas | {
        "etc/gateway/asyncapi.yaml",
        "etc/gateway/gateway.yaml",
        "usr/bin/gateway",
        "usr/lib/systemd/system/gateway-update.service",
        "usr/lib/systemd/system/gateway-update.timer",
        "usr/lib/systemd/system/gateway.service",
        "usr/lib/systemd/system/gateway@.service",
        "usr/share/bash-completion/completions/gateway",
        "usr/share/fish/vendor_completions.d/gateway.fish",
        "usr/share/man/man1/gateway.1.gz",
        "usr/share/zsh/vendor-completions/_gateway",
    }
    assert {"usr/share/doc/gateway/copyright", "usr/share/doc/gateway/changelog.gz"} <= files
    assert not {name for name in files if "__pycache__" in name or name.endswith((".pyc", ".pth"))}


def test_conffiles_are_all_of_etc(package: Path, root: Path) -> None:
    """An upgrade asks before it touches what an administrator has changed."""
    told = subprocess.run(["dpkg-deb", "-I", package, "conffiles"], check=True, capture_output=True, text=True).stdout
    assert told.split() == sorted(f"/{path.relative_to(root)}" for path in (root / "etc").rglob("*") if path.is_file())


def test_units_start_the_packaged_program(root: Path) -> None:
    """The units are those of deploy/, as they are."""
    for name in ("gateway.service", "gateway@.service"):
        unit = (root / "usr/lib/systemd/system" / name).read_text()
        assert unit == (REPOSITORY / "deploy" / name).read_text()
        assert "\nExecStart=/usr/bin/gateway run " in unit


def test_compiled_modules_serve_every_python_of_the_machine(root: Path) -> None:
    """Each compiled module is there for every supported Python, or for all at once, and for this kind of machine."""
    tags = tuple(f"cpython-{python.replace('.', '')}-" for python in wheels.PYTHONS)
    by_module: dict[str, set[str]] = {}
    for path in (root / "usr/lib/gateway").rglob("*.so*"):
        assert int.from_bytes(path.read_bytes()[18:20], "little") == ELF_MACHINES[ARCHITECTURE], path
        if "cpython-" in path.name:
            module, _, rest = path.name.partition(".")
            by_module.setdefault(f"{path.parent}/{module}", set()).update(tag for tag in tags if tag in rest)
    assert by_module
    assert {module: found for module, found in by_module.items() if found != set(tags)} == {}


def test_build_twice_makes_the_same_bytes(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever builds the same commit gets the same package, at another time and in another time zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert deb.build(ARCHITECTURE, tmp_path, compression="none").read_bytes() == package.read_bytes()


def test_gateway_runs_from_the_unpacked_package(root: Path) -> None:
    """With nothing in the environment it finds its own modules, and no others."""
    assert run(root, "--version").stdout == f"gateway {__version__} (native)\n"
    foreign = root / "foreign"
    (foreign / "gateway").mkdir(parents=True)
    (foreign / "gateway" / "__init__.py").write_text("raise SystemExit('taken from PYTHONPATH')")
    assert run(root, "--version", PYTHONPATH=str(foreign)).stdout == f"gateway {__version__} (native)\n"


def test_check_passes_the_packaged_contract(root: Path) -> None:
    """The contract of the package is fit to run; its settings lack only the secrets of the installation."""
    passed = run(root, "check", "--contract", str(root / "etc/gateway/asyncapi.yaml"))
    assert (passed.returncode, passed.stderr) == (0, "")
    missing = run(root, "check", "-c", str(root / "etc/gateway/gateway.yaml"))
    assert missing.returncode == 78
    findings = [line for line in missing.stderr.splitlines() if line.startswith("error: ")]
    assert findings
    assert all("_file: The file " in line for line in findings)


def test_the_package_has_the_families(root: Path) -> None:
    listed = run(root, "init", "--family", "?")
    assert (listed.returncode, listed.stderr.partition("Families: ")[2]) == (1, f"{', '.join(families.names())}.\n")


def test_children_of_the_packaged_gateway_are_the_same_program(root: Path, tmp_path: Path) -> None:
    """Workers are started from the package too, though no Python looks there by itself."""
    script = tmp_path / "child"
    launcher = (root / "usr/bin/gateway").read_text().replace("\nmain()\n", "\n")
    ask = "import subprocess, os\nfrom gateway.service import program\n"
    ask += "subprocess.run(program.command('--version'), env=program.environment({}), check=True)\n"
    script.write_text(launcher.replace("Path(__file__)", f"Path({str(root / 'usr/bin/gateway')!r})") + ask)
    told = subprocess.run(
        [sys.executable, "-IS", script], check=True, capture_output=True, text=True, env={}, cwd="/", timeout=TIMEOUT
    )
    assert told.stdout == f"gateway {__version__} (native)\n"


def test_manual_page_renders_without_a_warning(root: Path) -> None:
    """`man gateway` shows every command, and groff has nothing to say against it."""
    man = ["man", "--warnings", "--local-file", str(root / "usr/share/man/man1/gateway.1.gz")]
    shown = subprocess.run(
        man, check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80"}
    )
    assert shown.stderr == ""
    for section in ("gateway run", "gateway dlq replay", "EXIT STATUS", "/etc/gateway/gateway.yaml"):
        assert section in shown.stdout


def test_bash_completes_commands(root: Path, tmp_path: Path) -> None:
    """Bash asks the gateway itself what can follow."""
    on_path = tmp_path / "gateway"
    on_path.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {root}/usr/bin/gateway "$@"\n')
    on_path.chmod(0o755)
    script = f"""
    source {root}/usr/share/bash-completion/completions/gateway
    COMP_WORDS=(gateway che); COMP_CWORD=1
    _gateway_completion gateway
    echo "${{COMPREPLY[@]}}"
    """
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    told = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, env=path, timeout=TIMEOUT)
    assert told.stdout.split() == ["check"]


def dpkg(root: Path, *arguments: str | Path) -> None:
    """Let dpkg work on a folder as if it were the machine."""
    forced = [f"--force-{what}" for what in ("not-root", "script-chrootless", "depends", "bad-path")]
    options = [f"--root={root}", f"--log={root}/dpkg.log", *forced]
    subprocess.run(["dpkg", *options, *arguments], check=True, capture_output=True, timeout=TIMEOUT)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Make the root of a machine on which nothing is installed."""
    folder = tmp_path / "machine"
    for name in ("info", "updates"):
        (folder / "var/lib/dpkg" / name).mkdir(parents=True)
    (folder / "var/lib/dpkg/status").touch()
    return folder


def next_version(package: Path, folder: Path) -> Path:
    """Make a newer package, one of whose modules is gone."""
    subprocess.run(["dpkg-deb", "-R", package, folder / "tree"], check=True)
    control = folder / "tree/DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {deb.version()}", "Version: 99"))
    (folder / "tree/usr/lib/gateway/gateway/signals.py").unlink()
    newer = folder / "newer.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", folder / "tree", newer], check=True)
    return newer


def test_life_of_an_installation(package: Path, machine: Path, tmp_path: Path) -> None:
    """An upgrade keeps settings and spool, removal too; purge leaves nothing."""
    dpkg(machine, "--install", package)
    compiled = machine / "usr/lib/gateway/gateway/__pycache__"
    assert any(compiled.glob("signals.*.pyc"))

    settings, spool = machine / "etc/gateway/gateway.yaml", machine / "var/lib/private/gateway/spool.db"
    settings.write_text("mine: true\n")
    secret = machine / "etc/gateway/secrets/mqtt-password"
    secret.write_text("secret")
    spool.parent.mkdir(parents=True)
    spool.write_bytes(b"readings")
    (machine / "var/lib/gateway").symlink_to("private/gateway")

    dpkg(machine, "--install", next_version(package, tmp_path))
    assert not any(compiled.glob("signals.*.pyc"))
    assert any(compiled.glob("errors.*.pyc"))
    assert (settings.read_text(), spool.read_bytes()) == ("mine: true\n", b"readings")

    dpkg(machine, "--remove", "gateway")
    assert not (machine / "usr").exists() or not any(path.is_file() for path in (machine / "usr").rglob("*"))
    assert not (machine / "usr/lib/gateway").exists()
    assert (settings.read_text(), secret.read_text(), spool.read_bytes()) == ("mine: true\n", "secret", b"readings")

    dpkg(machine, "--purge", "gateway")
    left = {str(path.relative_to(machine)) for path in machine.rglob("*") if "gateway" in path.name}
    assert left == set()


def survives_sighup(status: str) -> bool:
    """Whether a process ignores or handles SIGHUP, which is the first bit of the masks in /proc."""
    return any(int(mask, 16) & 1 for mask in re.findall(r"^Sig(?:Ign|Cgt):\s*(\w+)$", status, re.MULTILINE))


def test_sighup_before_python_has_started_does_not_end_run(root: Path, tmp_path: Path, free_port: FreePort) -> None:
    """The launcher ignores it until the gateway has its handler; the files are read after that."""
    servers = {name: {"host": f"127.0.0.1:{free_port()}"} for name in ("factoryBroker", "meterBroker", "kafka")}
    settings = {"contract": str(root / "etc/gateway/asyncapi.yaml"), "http": {"listen": "off"}, "servers": servers}
    config, output = tmp_path / "gateway.yaml", tmp_path / "output"
    config.write_text(json.dumps(settings))
    with output.open("w") as file:
        process = subprocess.Popen([root / "usr/bin/gateway", "run", "-c", config], stdout=file, stderr=file)
    status = Path(f"/proc/{process.pid}/status")
    try:
        wait_for(lambda: survives_sighup(status.read_text()), 60, status.read_text)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "The gateway has started." in output.read_text(), 60, output.read_text)
    finally:
        process.terminate()
        assert process.wait(60) == 0, output.read_text()
