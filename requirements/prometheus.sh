#!/bin/sh
# prometheus.sh FOLDER: unpack Debian's Prometheus into FOLDER. Installed as a package it would start a service that
# listens on every address of the machine; the tests only need its two programs.
set -eu
folder=$1
part=$folder.part
rm -rf "$folder" "$part"
mkdir -p "$part"
cd "$part"
echo "Fetching Prometheus into $folder"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
# `_apt` may not write here: root would be told so in two lines.
apt-get download -qq prometheus 2> /dev/null < /dev/null ||
    { $as_root apt-get update -qq && apt-get download -qq prometheus; } < /dev/null ||
    { echo "apt-get could not download prometheus; its lines above say why. Is the network there?" >&2; exit 1; }
dpkg-deb -x prometheus_*.deb unpacked
mv unpacked/usr/bin/prometheus unpacked/usr/bin/promtool .
rm -rf unpacked prometheus_*.deb
touch .complete
cd - > /dev/null
mv "$part" "$folder"
