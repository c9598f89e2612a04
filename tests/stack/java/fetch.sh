#!/bin/sh
# fetch.sh kafka|registry|reader DIR: fetch Java software with Maven into DIR. Nothing is done when it is there.
# DIR/.complete holds a digest of the recipe, so that a changed version is fetched again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
what=${1:?usage: fetch.sh kafka|registry|reader DIR}
dir=${2:?usage: fetch.sh kafka|registry|reader DIR}
copy=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
# Apicurio's parent pom was never published, so its application cannot be a <dependency>. This old version of
# the plugin takes the one file without reading a pom.
get=org.apache.maven.plugins:maven-dependency-plugin:2.8:get
registry=io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all

case $what in
kafka) sources=kafka.xml ;;
registry) sources= ;;
reader) sources="reader.xml Reader.java" ;;
*) echo "fetch.sh knows kafka, registry and reader, not $what" >&2; exit 2 ;;
esac
# shellcheck disable=SC2086  # a list of files
recipe=$(cd "$here" && cat fetch.sh $sources | sha256sum)
if [ -f "$dir/.complete" ] && [ "$(cat "$dir/.complete")" = "$recipe" ]; then
    touch "$dir/.complete"
    exit 0
fi

maven() {
    mvn -B -q -ntp -Dstyle.color=never "$@" && return
    echo "Maven could not fetch $what; its lines above say why. It needs the network the first time." >&2
    exit 1
}

echo "Fetching $what with Maven into $dir ..."
rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
case $what in
kafka)
    maven -f "$here/kafka.xml" "$copy" -DincludeScope=runtime -DoutputDirectory="$dir/lib"
    ;;
registry)
    maven "$get" -Dartifact="$registry" -Dtransitive=false -Ddest="$dir/all.tar.gz"
    mkdir "$dir/app"
    tar -xzf "$dir/all.tar.gz" -C "$dir/app"
    rm "$dir/all.tar.gz"
    ;;
reader)
    maven -f "$here/reader.xml" "$copy" -DincludeScope=runtime -DoutputDirectory="$dir/lib"
    javac --release 17 -Xlint:all,-classfile -Werror -cp "$dir/lib/*" -d "$dir/classes" "$here/Reader.java"
    ;;
esac
printf '%s\n' "$recipe" > "$dir/.complete"
