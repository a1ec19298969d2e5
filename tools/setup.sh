#!/usr/bin/env bash
# Sets up a working tree: system libraries, the virtual environment .venv, every dependency at its
# tested version. Called by `make`, which runs it only when there is something to do.
# PYTHON=/path/to/python chooses the interpreter (3.10 to 3.12).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

torch_cpu_index=https://download.pytorch.org/whl/cpu
# EGL and Mesa render without a display and without a GPU.
graphics_packages=(libegl1 libgl1 libgl1-mesa-dri)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Runs a command as root: directly, or by sudo where it asks for no password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_be_root() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

# Installs Debian packages, or stops and says which are wanted.
install_packages() {
    command -v apt-get >/dev/null ||
        fail "wanted, and there is no apt-get to install them: what Debian calls $*"
    can_be_root || fail "system packages are missing. Install them and repeat: sudo apt-get install -y $*"
    say "installing system packages: $*"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        >/dev/null
}

is_suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10}; do
        if is_suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

install_missing_packages() {
    local missing=() package
    if command -v dpkg-query >/dev/null; then
        for package in "${graphics_packages[@]}"; do
            dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
                missing+=("$package")
        done
    elif ! ldconfig -p 2>/dev/null | grep -q 'libEGL\.so\.1'; then
        missing+=("${graphics_packages[@]}")
    fi
    # Debian ships Python without the part that makes virtual environments.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
    fi
    if [ ${#missing[@]} -gt 0 ]; then
        install_packages "${missing[@]}"
    fi
}

# Without an NVIDIA GPU the default build of torch would bring gigabytes of CUDA for nothing.
install_torch() {
    local index=()
    if ! nvidia-smi -L >/dev/null 2>&1 &&
        timeout 5 .venv/bin/python -c \
            "import urllib.request; urllib.request.urlopen('$torch_cpu_index/torch/', timeout=4)" \
            2>/dev/null; then
        index=(--index-url "$torch_cpu_index")
    fi
    # Its dependencies come with everything else, at the versions of constraints.txt.
    .venv/bin/python -m pip install --quiet --no-deps -c constraints.txt "${index[@]}" torch
}

if ! python=$(find_python); then
    [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is no Python 3.10 to 3.12"
    command -v python3 >/dev/null &&
        fail "helmsight runs on Python 3.10 to 3.12, and python3 is $(python3 --version 2>&1)." \
            "Name another: make PYTHON=/path/to/python3.12 ..."
    install_packages python3 python3-venv
    python=$(find_python) || fail "python3 of this system is not 3.10 to 3.12"
fi
install_missing_packages

# A virtual environment that was moved or copied points to its old place, so it is made again.
if ! { is_suitable .venv/bin/python && .venv/bin/python -m pip --version &&
    [ "$(cat .venv/.location 2>/dev/null)" = "$PWD" ]; } >/dev/null 2>&1; then
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
    pwd >.venv/.location
fi

# mypy finds the top-level folders as sub-packages of `helmsight` through this link.
[ -e helmsight ] || ln -s . helmsight

say "installing the dependencies of constraints.txt (a few minutes the first time)"
install_torch
.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[train,deploy,export,dev]'
touch .venv/.set-up
say "done: .venv/bin/helmsight"
