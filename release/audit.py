"""Known vulnerabilities of the locked packages.

pip-audit looks up each package in an index or in OSV. It skips packages that it cannot look up, and still reports "No
known vulnerabilities"; behind an index mirror it skipped all of them. Therefore this module ignores that summary and
reads the entries: every package of the lock must have one, in the locked version, not skipped, without a vulnerability.

pip-audit is installed in an environment of its own under .cache/, so that its dependencies do not mix with ours. The
newest version is used, not a locked one, because an old auditor knows less.
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


def findings(locked: Sequence[Package], answers: Sequence[Answer]) -> list[str]:
    """Compare the answers with the lock.

    Args:
        locked: packages of a lock.
        answers: pip-audit's JSON, one per service; one service that knows a package is enough.

    Returns:
        A sentence for each vulnerability, and for each package that no service looked up.
    """
    return [sentence for package in locked for sentence in _findings_of(package, answers)]


def _findings_of(package: Package, answers: Sequence[Answer]) -> Iterator[str]:
    entries = [each for answer in answers for each in answer.get("dependencies", []) if _is(package, each)]
    if not any("skip_reason" not in each and each["version"] == package.version for each in entries):
        reasons = [each.get("skip_reason") or f"only version {each['version']} was" for each in entries]
        yield f"{package.name} {package.version} was not looked up: {(reasons or ['no answer names it'])[0]}"
    found = {each["id"]: each for entry in entries for each in entry.get("vulns", [])}
    for name, vulnerability in found.items():
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        yield f"{package.name} {package.version}: {name}, fixed in {fixed}"


def _is(package: Package, entry: Answer) -> bool:
    return re.sub(r"[-_.]+", "-", entry["name"]).lower() == package.name


def look_up(lock: str, service: str) -> Answer:
    """Look up every package of a lock.

    Args:
        lock: `run`, `build` or `dev`.
        service: `pypi` or `osv`.

    Returns:
        pip-audit's JSON; empty when it failed, with its error message printed.
    """
    lock_options = ["--requirement", str(REQUIREMENTS / f"{lock}.txt"), "--disable-pip", "--require-hashes"]
    service_options = ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"]
    answer = subprocess.run(
        [str(_pip_audit()), *lock_options, *service_options], check=False, capture_output=True, text=True
    )
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
    """Audit every lock; exit with code 1 when there are findings."""
    wrong = False
    for lock in LOCKS:
        locked = packages(lock)
        sentences = findings(locked, [look_up(lock, service) for service in SERVICES])
        print(f"{lock}.txt: {len(locked)} packages, {len(sentences)} findings", *sentences, sep="\n  ")
        wrong = wrong or bool(sentences)
    if wrong:
        sys.exit("The audit failed. A package that was not looked up may be vulnerable: run it where OSV is reachable.")


if __name__ == "__main__":
    main()
