#!/usr/bin/env bash
# Installs the third-party peers that the interop matrix talks to.
#
#   install.sh [quick|full|SET...]      sets: browsers npm pypi gst pion3
#
# quick (default) is `browsers npm pypi`; full is every set. Idempotent: what is there already is left alone, so a
# second run takes well under a second. Debian packages are installed only when they are missing and we are root.
# Everything else goes to .tools/interop (or $TWOCAN_TOOLS/interop). Exit code: 0 when all that was asked for is
# there; 1 when something is missing, after a list of what and of what to do about it.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=${TWOCAN_TOOLS:-$root/.tools}/interop
mkdir -p "$tools"

# Two runs at once would install over each other: the second waits for the first.
if command -v flock >/dev/null; then
  exec 9>"$tools/.lock"
  flock 9
fi

missing=()
apt_updated=no

say() { printf '%s\n' "$*"; }

# not_installed WHAT WHY DO
not_installed() {
  missing+=("$1: $2
    do: $3")
}

# True when every named Debian package is installed.
have_packages() {
  command -v dpkg-query >/dev/null || return 1
  local state
  for package in "$@"; do
    # shellcheck disable=SC2016
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || return 1
    [ "$state" = installed ] || return 1
  done
}

# packages WHAT NAME...: makes the Debian packages be there, or notes what to do.
packages() {
  local what=$1
  shift
  have_packages "$@" && return 0
  local line="apt-get install -y --no-install-recommends $*"
  if ! command -v apt-get >/dev/null; then
    not_installed "$what" "no apt-get on this system" "install the equivalent of these Debian packages: $*"
    return 1
  fi
  if [ "$(id -u)" != 0 ]; then
    not_installed "$what" "Debian packages are missing and this is not root" "sudo $line"
    return 1
  fi
  say "$what: $line"
  if [ $apt_updated = no ]; then
    apt-get -o Acquire::Retries=3 -qq update </dev/null >"$tools/apt.log" 2>&1
    apt_updated=yes
  fi
  # shellcheck disable=SC2086
  if ! DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -qq ${line#apt-get } \
    </dev/null >>"$tools/apt.log" 2>&1; then
    not_installed "$what" "apt-get failed: $(grep -m1 '^E:' "$tools/apt.log" || tail -1 "$tools/apt.log")" "$line"
    return 1
  fi
}

install_browsers() {
  command -v chromium >/dev/null || packages chromium chromium
  command -v firefox-esr >/dev/null || packages firefox firefox-esr
}

install_npm() {
  if ! command -v node >/dev/null; then
    not_installed "npm peers" "no node in PATH" "install Node 20 or newer"
    return
  fi
  local major
  major=$(node -p 'process.versions.node.split(".")[0]')
  if [ "$major" -lt 20 ]; then
    not_installed "npm peers" "node is version $major, werift and puppeteer-core need 20" "install Node 20 or newer"
    return
  fi
  local stamp
  stamp=$(cat "$here/package.json" "$here/package-lock.json" "$here/.npmrc" | sha256sum)-node$major
  [ "$(cat "$tools/npm.stamp" 2>/dev/null)" = "$stamp" ] && return
  command -v npm >/dev/null || packages "npm peers" npm || return
  say "npm: $(node -p 'Object.keys(require(process.argv[1]).dependencies).join(" ")' "$here/package.json")"
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$tools/"
  if (cd "$tools" && npm ci --no-audit --no-fund --loglevel=error </dev/null >npm.log 2>&1); then
    printf '%s' "$stamp" >"$tools/npm.stamp"
  else
    rm -f "$tools/npm.stamp"
    not_installed "npm peers" "npm ci failed: $(grep -m1 -i 'error' "$tools/npm.log" || tail -1 "$tools/npm.log")" \
      "look at $tools/npm.log, then run this again"
  fi
}

install_pypi() {
  local python
  if ! python=$(command -v python3); then
    not_installed aiortc "no python3 in PATH" "install Python 3.10 or newer"
    return
  fi
  local stamp
  stamp=$(sha256sum <"$here/requirements.txt")-$("$python" -c 'import sys; print(sys.version_info[:2], sys.prefix)')
  if [ "$(cat "$tools/pypi.stamp" 2>/dev/null)" = "$stamp" ]; then
    install_ffmpeg
    return
  fi
  rm -rf "$tools/py"
  # Debian splits venv from python3; any other Python carries it.
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    packages aiortc python3-venv || return
  fi
  say "PyPI: aiortc"
  if "$python" -m venv "$tools/py" >"$tools/pypi.log" 2>&1 &&
    "$tools/py/bin/pip" install --disable-pip-version-check -q -r "$here/requirements.txt" </dev/null >>"$tools/pypi.log" 2>&1; then
    printf '%s' "$stamp" >"$tools/pypi.stamp"
    install_ffmpeg
  else
    not_installed aiortc "pip failed: $(grep -m1 -i 'error' "$tools/pypi.log" || tail -1 "$tools/pypi.log")" \
      "look at $tools/pypi.log, then run this again"
  fi
}

# A static ffmpeg that publishes by WHIP, for the browser tests.
install_ffmpeg() {
  "$tools/py/bin/python" -c 'import imageio_ffmpeg' 2>/dev/null && return
  say "PyPI: imageio-ffmpeg"
  "$tools/py/bin/python" -m pip install --disable-pip-version-check -q imageio-ffmpeg==0.8.1 </dev/null >>"$tools/pypi.log" 2>&1 ||
    not_installed ffmpeg "pip failed: $(tail -1 "$tools/pypi.log")" "look at $tools/pypi.log, then run this again"
}

install_gst() {
  packages gst gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-nice \
    gir1.2-gst-plugins-bad-1.0 gir1.2-gst-plugins-base-1.0 gir1.2-gstreamer-1.0 python3-gi python3-gst-1.0 openssl
}

install_pion3() {
  local stamp
  stamp=$(cat "$here"/peers/pion3/*.go "$here"/peers/pion3/clip.ivf | sha256sum)
  [ -x "$tools/pion3" ] && [ "$(cat "$tools/pion3.stamp" 2>/dev/null)" = "$stamp" ] && return
  # Debian's own packages, so that nothing comes from a module proxy; hence GOPATH mode and Debian's own Go.
  packages pion3 golang-go golang-github-pion-webrtc.v3-dev || return
  say "pion3: go build"
  if (cd "$here/peers/pion3" && GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOTOOLCHAIN=local GOCACHE="$tools/go-cache" \
    /usr/bin/go build -o "$tools/pion3" . >"$tools/pion3.log" 2>&1); then
    printf '%s' "$stamp" >"$tools/pion3.stamp"
  else
    rm -f "$tools/pion3" "$tools/pion3.stamp"
    not_installed pion3 "go build failed: $(grep -v '^#' "$tools/pion3.log" | head -1)" "look at $tools/pion3.log"
  fi
}

sets=()
for word in "${@:-quick}"; do
  case $word in
    quick)
      sets+=(browsers npm pypi)
      # One of before would be asked for what only the newer one does.
      if [ -e "$tools/pion3" ]; then sets+=(pion3); fi
      ;;
    full) sets+=(browsers npm pypi gst pion3) ;;
    browsers | npm | pypi | gst | pion3) sets+=("$word") ;;
    *)
      say "usage: install.sh [quick|full|browsers|npm|pypi|gst|pion3]..." >&2
      exit 2
      ;;
  esac
done
for set in "${sets[@]}"; do
  "install_$set"
done

if [ ${#missing[@]} -gt 0 ]; then
  say "NOT INSTALLED (the matrix lists these as NOT RUN):"
  for line in "${missing[@]}"; do
    say "  $line"
  done
  exit 1
fi
say "interop peers: ${sets[*]}: all there, in $tools"
