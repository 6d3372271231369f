# Sourced by demo and test: makes .venv and installs this checkout, with the extras named in $1.
# A machine with Python 3.11 to 3.13 and pip is enough. PYTHON chooses the interpreter.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }

# Whole, and not what an interrupted run left.
ready() { suits .venv/bin/python && .venv/bin/python -c 'import sys, pip; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null; }

if ! ready; then
    python=
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
