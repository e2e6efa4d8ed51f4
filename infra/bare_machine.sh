#!/usr/bin/env bash
# What a bare Debian or Ubuntu lacks for `make check`; installs nothing that is there already.
set -euo pipefail

missing=()
command -v make >/dev/null || missing+=(make)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
command -v c++ >/dev/null || missing+=(g++ python3-dev) # worker tlsh is compiled
command -v 7z >/dev/null || missing+=(p7zip-full)       # writes encrypted archives that tests open
command -v exiftool >/dev/null || missing+=(libimage-exiftool-perl) # worker exif

if ((${#missing[@]} == 0)); then
    exit 0
fi
if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "this machine lacks: ${missing[*]} (as root: apt-get install ${missing[*]})" >&2
    exit 0 # what is essential is asked for again by make, the rest is named under `not run`
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
