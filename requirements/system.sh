#!/bin/sh
# system.sh run|test|arm64|systemd|image|compilers [PYTHON]: see that the Debian packages are there, and install with apt those that are not.
#
# run   what `make demo` needs: an MQTT broker, and Python's venv
# test  also what the tests start or read with: Java for Kafka and the registry, kcat, openssl, strace, Chromium,
#       man, systemd's own judgement of units
# arm64 what runs the arm64 package on another machine
# systemd  what boots a Debian in namespaces of its own
# image what makes a container image
# compilers what compiles native/ for both kinds of machine
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # where Debian has mosquitto, but not its users' PATH

run='mosquitto:mosquitto mosquitto_passwd:mosquitto'
tests='mosquitto_pub:mosquitto-clients kcat:kcat mvn:maven java:default-jre-headless javac:default-jdk-headless
       openssl:openssl strace:strace setpriv:util-linux chromium:chromium man:man-db systemd-analyze:systemd'
systemd='systemd-nspawn:systemd-container mmdebstrap:mmdebstrap'
arm64='qemu-aarch64-static:qemu-user-static mmdebstrap:mmdebstrap'
compilers='gcc:gcc aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu'
chosen=${2:-} # empty: python.sh looks for one
case ${1:-} in
run) wanted=$run ;;
test) wanted="$run $tests $compilers" ;;
arm64) wanted=$arm64 ;;
systemd) wanted=$systemd ;;
image) wanted=mmdebstrap:mmdebstrap ;;
compilers) wanted=$compilers ;;
*) echo "usage: system.sh run|test|arm64|systemd|image|compilers [PYTHON]" >&2; exit 2 ;;
esac

missing_packages() {
    for each in $wanted; do
        command -v "${each%%:*}" > /dev/null || echo "${each#*:}"
    done
    [ -z "$python" ] || venv_package
    case $wanted in *"$compilers"*) header_packages ;; esac
}

# Debian has the headers of the C library and of Python apart from what they are for.
header_packages() {
    has_header() { echo '#include <stdlib.h>' | "$1" -E - > /dev/null 2>&1; }
    has_header gcc || echo libc6-dev
    has_header aarch64-linux-gnu-gcc || echo libc6-dev-arm64-cross
    ${python:-.venv/bin/python} -c 'import os, sys, sysconfig
if not os.path.exists(sysconfig.get_path("include") + "/Python.h"):
    print("python%d.%d-dev" % sys.version_info[:2])'
}

# Debian ships Python without what makes virtual environments.
venv_package() {
    "$python" -c 'import ensurepip, venv' 2> /dev/null && return
    "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

install() {
    command -v apt-get > /dev/null ||
        fail "Missing: $*." "These are Debian's package names; there is no apt-get here: install them your own way."
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo > /dev/null || fail "Missing: $*." "Run as root: apt-get install --no-install-recommends $*"
        as_root=sudo
    fi
    echo "Installing Debian packages${as_root:+ with sudo}: $*"
    $as_root apt-get update -qq < /dev/null || echo "apt-get update failed; trying with the lists that are here." >&2
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" < /dev/null ||
        fail "apt-get could not install: $*." "Its lines above say why. Is the network there?"
}

python=
[ -x .venv/bin/python ] || python=$("$here/python.sh" "$chosen")

packages=$(missing_packages | sort -u)
# shellcheck disable=SC2086  # a list of package names
[ -z "$packages" ] || install $packages
packages=$(missing_packages | sort -u | tr '\n' ' ')
[ -z "$packages" ] || fail "Still missing after the installation: $packages"

if [ "$1" = test ]; then
    version=$(javac -version 2>&1 | sed 's/^javac \(1\.\)\{0,1\}\([0-9]*\).*/\2/')
    [ "$version" -ge 17 ] || fail "Java 17 or newer is needed by Kafka, and javac is version $version."
fi
