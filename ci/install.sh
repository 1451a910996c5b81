#!/usr/bin/env bash
# Installs the Debian packages that are missing; does nothing, quickly, when none is.
#
#   install.sh [--build] [LIST ...]
#
# A list names one package a line, "#" starts a comment. Without one: ci/packages.txt and
# tests/apps/packages.txt. --build takes only the packages that are marked "build".
# Needs root or sudo, and only when there is something to install. Services that come with a package
# are kept from starting.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
policy=/usr/sbin/policy-rc.d
policy_made=
log=
as_root=()

fail() {
  echo "ci/install.sh: $*" >&2
  exit 1
}

# Prints the packages of the lists.
listed() {
  local only=$1 list name mark
  shift
  for list; do
    [ -r "$list" ] || fail "cannot read the list $list"
    while read -r name mark || [ -n "$name" ]; do
      if [ -n "$name" ] && { [ -z "$only" ] || [ "$mark" = "$only" ]; }; then
        echo "$name"
      fi
    done < <(sed 's/#.*//' "$list")
  done
}

# Prints those of the named packages that are not installed.
missing_of() {
  # For a name it does not know dpkg-query fails, and prints nothing of it on stdout.
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  comm -23 <(printf '%s\n' "$@" | sort -u) <(sed -n 's/^installed //p' <<<"$installed" | sort -u)
}

# Asks invoke-rc.d not to start anything, unless the machine has a policy of its own.
deny_services() {
  if [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
    policy_made=yes
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
}

cleanup() {
  if [ -n "$policy_made" ]; then
    "${as_root[@]}" rm -f "$policy"
  fi
  rm -f "$log"
}

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
    -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1 && return
  cat "$log" >&2
  fail "apt-get $1 failed"
}

only=
if [ "${1:-}" = --build ]; then
  only=build
  shift
fi
if [ $# -eq 0 ]; then
  set -- "$root/ci/packages.txt" "$root/tests/apps/packages.txt"
fi
command -v dpkg-query >/dev/null || fail "this is no Debian: install what is in $* by hand"

packages=$(listed "$only" "$@")
[ -n "$packages" ] || fail "no packages in $*"
mapfile -t packages <<<"$packages"
missing=$(missing_of "${packages[@]}")
[ -n "$missing" ] || exit 0
mapfile -t missing <<<"$missing"

echo "ci/install.sh: installing ${missing[*]}"
if [ "$EUID" -ne 0 ]; then
  command -v sudo >/dev/null || fail "needs root or sudo to install"
  as_root=(sudo)
fi
log=$(mktemp)
trap cleanup EXIT
deny_services
apt update
apt install -y --no-install-recommends "${missing[@]}"
