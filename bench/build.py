"""The bridges that are compiled before a run, into .cache/bench/. One that cannot be built is left out.

Java's is made of pinned jars, as the tests' own Java programs are (`tests/stack/java/fetch.sh`), but not in `make
setup`: nothing else needs it. Its Kafka client is the one that Kafka itself brought.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILT = ROOT / ".cache" / "bench"
GO_BRIDGE = BUILT / "bridge"
RUST_BRIDGES = BUILT / "rust" / "release"  # `plain` and `tuned`
JAVA_SOURCES = ROOT / "bench" / "java"
JAVA_BRIDGE = BUILT / "java"
JAVA_IS_BUILT = JAVA_BRIDGE / ".complete"  # holds a digest of the sources
KAFKA_JARS = ROOT / ".cache" / "kafka" / "lib"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def build_bridges() -> None:
    """Build all, and say which are left out and why; compile the gateway, as an installation does."""
    BUILT.mkdir(parents=True, exist_ok=True)
    compileall.compile_dir(ROOT / "gateway", quiet=1)
    every = (
        ("Go", _build_go_bridge, GO_BRIDGE),
        ("Rust", _build_rust_bridges, RUST_BRIDGES / "tuned"),
        ("Java", _build_java_bridge, JAVA_IS_BUILT),
    )
    for name, build, built in every:
        try:
            build()
        except (OSError, subprocess.CalledProcessError) as error:
            built.unlink(missing_ok=True)  # of another day
            print(f"The bridge in {name} cannot be built and is left out: {error}", flush=True)


def java_class_path() -> str:
    """Tell where the Java bridge and its libraries are: of Kafka's jars only what a client needs."""
    names = ("kafka-clients", "lz4-java", "slf4j-api")
    of_kafka = [jar for name in names for jar in KAFKA_JARS.glob(f"{name}-[0-9]*.jar")]
    return os.pathsep.join(map(str, [JAVA_BRIDGE / "classes", JAVA_BRIDGE / "lib" / "*", *of_kafka]))


def _build_go_bridge() -> None:
    _run("go", "build", "-buildvcs=false", "-o", GO_BRIDGE, ".", cwd=ROOT / "bench" / "go")


def _build_rust_bridges() -> None:
    _run("cargo", "build", "--release", "--quiet", "--target-dir", RUST_BRIDGES.parent, cwd=ROOT / "bench" / "rust")


def _build_java_bridge() -> None:
    recipe = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(JAVA_SOURCES.iterdir()))).hexdigest()
    if JAVA_IS_BUILT.exists() and JAVA_IS_BUILT.read_text() == recipe:
        return
    shutil.rmtree(JAVA_BRIDGE, ignore_errors=True)
    classes = JAVA_BRIDGE / "classes"
    classes.mkdir(parents=True)
    jars = f"-DoutputDirectory={JAVA_BRIDGE / 'lib'}"
    _run("mvn", "-B", "-q", "-ntp", "-Dstyle.color=never", "-f", JAVA_SOURCES / "bridge.xml", COPY, jars)
    source = JAVA_SOURCES / "Bridge.java"
    _run("javac", "--release", "17", "-Xlint:all,-classfile", "-Werror", "-cp", java_class_path(),
         "-d", classes, source)  # fmt: skip
    JAVA_IS_BUILT.write_text(recipe)


def _run(program: str, *arguments: str | Path, cwd: Path = ROOT) -> None:
    path = shutil.which(program)
    if not path:
        raise FileNotFoundError(f"{program} is not installed")
    subprocess.run([path, *arguments], cwd=cwd, env=os.environ | {"CGO_ENABLED": "0"}, check=True)
