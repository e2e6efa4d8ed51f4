#!/usr/bin/env bash
# What a bare Debian or Ubuntu lacks for `make check`; installs nothing that is there already.
set -euo pipefail

missing=()
command -v make >/dev/null || missing+=(make)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
command -v c++ >/dev/null || missing+=(g++ python3-dev) # worker tlsh is compiled
command -v exiftool >/dev/null || missing+=(libimage-exiftool-perl) # worker exif
command -v 7z >/dev/null || missing+=(p7zip-full)       # opens wim and file systems; writes what tests open
command -v unar >/dev/null || missing+=(unar)           # opens rar
command -v upx >/dev/null || missing+=(upx-ucl)         # unpacks programs; Debian 12 has none
# small programs whose archives the tests open: 3 MB together
command -v arj >/dev/null || missing+=(arj)
command -v compress >/dev/null || missing+=(ncompress)
command -v bsdtar >/dev/null || missing+=(libarchive-tools)
command -v genisoimage >/dev/null || missing+=(genisoimage)
command -v mksquashfs >/dev/null || missing+=(squashfs-tools)
command -v makensis >/dev/null || missing+=(nsis)
command -v mcopy >/dev/null || missing+=(mtools)
command -v mkfs.vfat >/dev/null || test -x /sbin/mkfs.vfat || missing+=(dosfstools)
test -d /usr/share/clamav-testfiles || missing+=(clamav-testfiles)

if ((${#missing[@]} == 0)); then
    exit 0
fi
if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "this machine lacks: ${missing[*]} (as root: apt-get install ${missing[*]})" >&2
    exit 0 # what is essential is asked for again by make, the rest is named under `not run`
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
there=() # a release lacks some of them, and one that is not there must not keep out the rest
for one in "${missing[@]}"; do
    if apt-cache show "$one" >/dev/null 2>&1; then there+=("$one"); else echo "no package $one here" >&2; fi
done
((${#there[@]} == 0)) || apt-get install -y -qq --no-install-recommends "${there[@]}"
