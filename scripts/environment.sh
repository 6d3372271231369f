# Sourced by the scripts beside it: what they need of the system, and .venv with this checkout in it.
# A machine with Python 3.11 to 3.13 and pip is enough. PYTHON chooses the interpreter.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# What Qt 6 needs on Debian and Ubuntu.
qt_libraries=(libegl1 libgl1 libglib2.0-0 libfontconfig1 libdbus-1-3 libxkbcommon-x11-0
    libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0)

# Install those of Debian's packages that are missing, or say how.
need_packages() {
    if ! command -v dpkg-query >/dev/null || [ "$(uname -s)" != Linux ]; then return; fi
    local missing=() package known
    for package in "$@"; do
        # Newer releases have some of them under a name that ends in t64.
        known="$(dpkg-query -W -f '${db:Status-Status} ' "$package" "${package}t64" 2>/dev/null || true)"
        [[ " $known" == *" installed "* ]] || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "It needs libraries of the system: sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "Installing ${missing[*]} ..." >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >/dev/null
}

suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }

# Whole, and not what an interrupted run left.
ready() { suits .venv/bin/python && .venv/bin/python -c 'import sys, pip; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null; }

# Make .venv and install this checkout in it, with the extras named in $1.
need_environment() {
    local python= candidate
    if ! ready; then
        for candidate in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.12 python3.13; do
            if suits "$candidate"; then python=$candidate && break; fi
        done
        if [ -z "$python" ]; then
            echo "Python 3.11, 3.12 or 3.13 is needed; PYTHON=/path/to/python names one." >&2
            exit 1
        fi
        echo "Making .venv with $("$python" --version) ..." >&2
        # Debian keeps ensurepip in a package of its own (python3-venv); pip can do its work.
        "$python" -m venv --clear .venv >/dev/null 2>&1 ||
            { "$python" -m venv --clear --without-pip .venv && "$python" -m pip -q --python .venv/bin/python install pip; } ||
            { echo "No virtual environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }
    fi
    echo "Installing napari-wbcseg and what it needs (some minutes the first time) ..." >&2
    .venv/bin/python -m pip install -q -e ".$1" || exit 1
}
