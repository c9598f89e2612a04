"""Known vulnerabilities of what is locked.

pip-audit asks an index or OSV for each package. What it cannot look up it skips, and then it says "No known
vulnerabilities": behind an index mirror that was all of them. So its verdict is not taken. Its findings are, and every
package of the lock has to be among them, in the lock's version, looked at and without a vulnerability.

pip-audit has an environment of its own under .cache/, so that what it needs is never mistaken for ours. It is the
newest one: yesterday's auditor with a hash is worth less.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from typing import TYPE_CHECKING, Any, TypeAlias

from release.lock import REPOSITORY, REQUIREMENTS, packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from release.lock import Package

Answer: TypeAlias = "dict[str, Any]"

LOCKS = ("run", "build", "dev")
SERVICES = ("pypi", "osv")


def judge(locked: Sequence[Package], answers: Sequence[Answer]) -> list[str]:
    """Compare what was looked up with what is locked.

    Args:
        locked: packages of a lock.
        answers: pip-audit's JSON, one for each service that was asked; what one of them knows is known.

    Returns:
        A sentence for each vulnerability, and for each package that nobody looked up; empty: all is well.
    """
    return [sentence for package in locked for sentence in _judge(package, answers)]


def _judge(package: Package, answers: Sequence[Answer]) -> Iterator[str]:
    entries = [each for answer in answers for each in answer.get("dependencies", []) if _is(package, each)]
    if not any("skip_reason" not in each and each["version"] == package.version for each in entries):
        reasons = [each.get("skip_reason") or f"only version {each['version']} was" for each in entries]
        yield f"{package.name} {package.version} was not looked up: {(reasons or ['no answer names it'])[0]}"
    found = {each["id"]: each for entry in entries for each in entry.get("vulns", [])}
    for name, vulnerability in found.items():
        mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        yield f"{package.name} {package.version}: {name}, mended in {mended}"


def _is(package: Package, entry: Answer) -> bool:
    return re.sub(r"[-_.]+", "-", entry["name"]).lower() == package.name


def look_up(lock: str, service: str) -> Answer:
    """Ask about every package of a lock.

    Args:
        lock: `run`, `build` or `dev`.
        service: `pypi` or `osv`.

    Returns:
        pip-audit's JSON; empty when it had no answer, and it has said why.
    """
    asked = ["--requirement", str(REQUIREMENTS / f"{lock}.txt"), "--disable-pip", "--require-hashes"]
    told = ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"]
    answer = subprocess.run([str(_pip_audit()), *asked, *told], check=False, capture_output=True, text=True)
    try:
        return dict(json.loads(answer.stdout))
    except ValueError:
        print(f"{service}: {(answer.stderr.splitlines() or ['no answer'])[-1]}")
        return {}


def _pip_audit() -> Path:
    folder = REPOSITORY / ".cache" / "pip-audit"
    program = folder / "bin" / "pip-audit"
    if not program.exists():
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "pip-audit"]
        subprocess.run(pip, check=True)
    return program


def main() -> None:
    """Audit every lock; exit code 1 with all that is not well."""
    wrong = False
    for lock in LOCKS:
        locked = packages(lock)
        sentences = judge(locked, [look_up(lock, service) for service in SERVICES])
        print(f"{lock}.txt: {len(locked)} packages, {len(sentences)} findings", *sentences, sep="\n  ")
        wrong = wrong or bool(sentences)
    if wrong:
        sys.exit(
            "The audit failed. What nobody looked up is not known to be safe: ask where the network reaches further."
        )


if __name__ == "__main__":
    main()
