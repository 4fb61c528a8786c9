#!/usr/bin/env bash
# Installs the named Debian packages that are missing. Uses sudo only if any is missing.
# Usage: cmake/install_packages.sh [--check] PACKAGE...      --check: fail instead of installing
set -euo pipefail

check=no
if [[ ${1:-} == --check ]]; then
  check=yes
  shift
fi
if ! command -v dpkg-query >/dev/null; then
  echo "not a Debian system: package names may differ, nothing is checked or installed"
  exit 0
fi

missing=()
for package in "$@"; do
  if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
    missing+=("$package")
  fi
done
if ((${#missing[@]} == 0)); then
  echo "all $# are installed"
elif [[ $check == yes ]]; then
  echo "missing: ${missing[*]}" >&2
  exit 1
else
  echo "installing: ${missing[*]}"
  as_root=()
  if ((EUID != 0)); then as_root=(sudo); fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
