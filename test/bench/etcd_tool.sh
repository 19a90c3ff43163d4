#!/bin/bash
# Builds etcd's load generator (tools/benchmark), which Debian ships only inside its source package.
#   etcd_tool.sh OUTPUT [--install]
# --install fetches Go and the libraries the tool needs as Debian packages; without it they must be there.
set -euo pipefail
output=$(realpath -m "${1:?usage: etcd_tool.sh OUTPUT [--install]}")
packages="golang-go dpkg-dev golang-etcd-server-dev golang-github-spf13-cobra-dev golang-gopkg-cheggaaa-pb.v1-dev
  golang-github-dustin-go-humanize-dev golang-github-bgentry-speakeasy-dev golang-golang-x-time-dev"
if [ "${2:-}" = --install ]; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages > /dev/null
fi
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/source" "$work/go/src/go.etcd.io"

# The package sources of this machine, with "deb" turned into "deb-src", and package lists of our own beside the system's.
for file in /etc/apt/sources.list.d/*.sources; do
  [ -e "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" && echo
done > "$work/source.sources"
apt_options=(-o "Dir::Etc::sourcelist=$work/source.sources" -o Dir::Etc::sourceparts=/dev/null
             -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
cd "$work/source"
apt-get "${apt_options[@]}" -qq update
apt-get "${apt_options[@]}" -qq --download-only source etcd > /dev/null
dpkg-source --no-check -x etcd_*.dsc "$work/go/src/go.etcd.io/etcd" > /dev/null

cd "$work/go/src/go.etcd.io/etcd"
mkdir -p "$(dirname "$output")"
GO111MODULE=off GOFLAGS=-p=2 GOPATH="$work/go:/usr/share/gocode" GOCACHE="$work/cache" \
  go build -o "$output" go.etcd.io/etcd/tools/benchmark
echo "$output"
