# shellcheck shell=bash
# What the entry points share: find the project's interpreter and hand over to it.
# Sourced, never run; the caller has set -euo pipefail.

# Our own name in messages, also when the caller was run as `bash path/to/it`.
DOOR=$(basename -- "$0" .sh)

say() { printf '%s: %s\n' "$DOOR" "$*" >&2; }

# The folder that --project names, else the current one. Python parses the arguments
# for real; this only has to find the interpreter.
project_directory() {
    local directory=$PWD
    while [ $# -gt 0 ]; do
        case $1 in
            --project=*) directory=${1#--project=} ;;
            --project) directory=${2-} ;;
        esac
        shift
    done
    if [ -n "$directory" ] && [ -d "$directory" ]; then
        (CDPATH='' cd -- "$directory" && pwd -P)
    else
        printf '%s\n' "$PWD"
    fi
}

# The python of the virtualenv $1, or nothing.
venv_python() {
    local candidate
    for candidate in "$1/bin/python" "$1/Scripts/python.exe"; do
        if [ -x "$candidate" ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# The nearest file or folder called $2 in $1 or above it, up to the repository's root.
find_upwards() {
    local directory=$1 name=$2
    while :; do
        if [ -e "$directory/$name" ]; then
            printf '%s\n' "$directory/$name"
            return 0
        fi
        if [ -e "$directory/.git" ] || [ "$directory" = "${HOME:-/}" ] || [ "$directory" = / ]; then
            return 1
        fi
        directory=$(dirname -- "$directory")
    done
}

# Sets PYTHON and PYTHON_ORIGIN for the project in $1.
choose_python() {
    local project=$1 name found
    if [ -n "${VIRTUAL_ENV-}" ]; then
        if PYTHON=$(venv_python "$VIRTUAL_ENV"); then
            PYTHON_ORIGIN="the active virtualenv"
            return 0
        fi
        say "VIRTUAL_ENV is $VIRTUAL_ENV, which has no python; looking further"
    fi
    for name in .venv venv; do
        if found=$(find_upwards "$project" "$name") && PYTHON=$(venv_python "$found"); then
            PYTHON_ORIGIN="the project's $name"
            return 0
        fi
    done
    # uv and poetry are asked for the path, so that what runs is the interpreter itself:
    # the working directory stays and signals reach it.
    if find_upwards "$project" uv.lock >/dev/null && command -v uv >/dev/null 2>&1; then
        if PYTHON=$(cd -- "$project" && uv run python -c 'import sys; print(sys.executable)'); then
            PYTHON_ORIGIN="uv run"
            return 0
        fi
    fi
    if find_upwards "$project" poetry.lock >/dev/null && command -v poetry >/dev/null 2>&1; then
        if PYTHON=$(cd -- "$project" && poetry run python -c 'import sys; print(sys.executable)'); then
            PYTHON_ORIGIN="poetry run"
            return 0
        fi
    fi
    for name in python3 python; do
        if PYTHON=$(command -v "$name"); then
            PYTHON_ORIGIN="$name on PATH; no virtualenv found"
            return 0
        fi
    done
    return 1
}

# run_toolkit COMMAND [ARGUMENT...]: replaces this shell by the toolkit.
run_toolkit() {
    local command=$1 scripts version
    shift
    scripts=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
    if ! choose_python "$(project_directory "$@")"; then
        say "no Python found: activate the project's virtualenv, or install Python 3.11 or newer"
        exit 6
    fi
    if ! version=$("$PYTHON" -c 'import platform; print(platform.python_version())' 2>/dev/null); then
        say "$PYTHON ($PYTHON_ORIGIN) does not start; activate a working virtualenv"
        exit 6
    fi
    case $version in
        [012].* | 3.[0-9] | 3.[0-9].* | 3.10 | 3.10.*)
            say "$PYTHON ($PYTHON_ORIGIN) is Python $version; 3.11 or newer is needed"
            exit 6
            ;;
    esac
    say "using $PYTHON (Python $version, $PYTHON_ORIGIN)"
    exec "$PYTHON" "$scripts/run_toolkit.py" "$command" "$@"
}
