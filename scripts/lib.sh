# shellcheck shell=bash
# Shared by the other scripts: which packages there are, how they are installed, how a preset is built. Source it.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
JOBS=${JOBS:-$(nproc)}
# Lets one ccache serve several clones and worktrees: paths inside the tree count relative to it.
export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1

# shellcheck disable=SC2034  # used by those that source this
# What compiling and linking cairnd needs. docs/dependencies.md says why each library is here.
BUILD_PACKAGES=(
  g++ cmake ninja-build mold ccache pkg-config
  libboost1.81-dev libspdlog-dev libfmt-dev libyaml-cpp-dev nlohmann-json3-dev
  liblz4-dev libzstd-dev libxxhash-dev libssl-dev libcli11-dev libjemalloc-dev liburing-dev
)
# shellcheck disable=SC2034
# What only tests need: the test library, the compiler with libFuzzer, the peer of the differential test and its
# tools, what the process tests look at processes and networks with, a browser for the console, judges of metrics,
# schemas and units, the engines that cairn-bench compares ours with.
TEST_PACKAGES=(
  catch2 clang-19 libclang-rt-19-dev clang-format
  redis-server redis-tools python3-redis libhiredis-dev prometheus-redis-exporter strace python3 iproute2 procps util-linux curl
  chromium prometheus python3-jsonschema python3-yaml systemd
  librocksdb-dev libleveldb-dev
)

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "needs root or sudo for: $*"
  fi
}

missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || printf '%s\n' "$package"
  done
}

# install_packages PACKAGE... : those that are missing, without questions. A package never starts its service here, and
# a Redis or Prometheus server that was not there before is not left switched on for the next boot either.
install_packages() {
  command -v dpkg-query >/dev/null || die "this is not Debian; install the counterparts of: $*"
  local missing guard=/usr/sbin/policy-rc.d
  mapfile -t missing < <(missing_packages "$@")
  if [[ ${#missing[@]} -eq 0 ]]; then
    return 0
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  local log
  log=$(mktemp /tmp/cairn-packages.XXXXXX)
  if ! (
    if [[ ! -e $guard ]]; then
      trap 'as_root rm -f "$guard"' EXIT
      printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
      as_root chmod 755 "$guard"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
  ) </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get failed; its whole output is in $log"
  fi
  rm -f "$log"
  local service
  for service in redis-server prometheus; do
    if [[ " ${missing[*]} " == *" $service "* && -d /run/systemd/system ]]; then
      as_root systemctl disable --now "$service" >/dev/null 2>&1 || true
    fi
  done
}

# configure PRESET, then build PRESET [target...]. Ninja's output is shown only when it fails.
configure() {
  local log
  log=$(mktemp /tmp/cairn-configure.XXXXXX)
  if ! (cd "$ROOT" && cmake --preset "$1") >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "configuring $1 failed"
  fi
  rm -f "$log"
}
build() {
  local preset=$1
  shift
  configure "$preset"
  say "building $preset${*:+: $*} (with $JOBS jobs)"
  local started=$SECONDS
  if [[ -t 1 ]]; then
    cmake --build "$ROOT/build/$preset" -j "$JOBS" ${1:+--target "$@"} || die "building $preset failed"
  else
    local log=$ROOT/build/$preset/build-output.txt
    if ! cmake --build "$ROOT/build/$preset" -j "$JOBS" ${1:+--target "$@"} >"$log" 2>&1; then
      grep -v '^\[[0-9]*/[0-9]*\] ' "$log" | head -n 100 >&2 || true
      die "building $preset failed; the whole output is in $log"
    fi
  fi
  say "built $preset in $((SECONDS - started)) s"
}
