# shellcheck shell=bash
# What the entry points share: find the project's interpreter and hand over to it.
# Sourced, never run; the caller has set -euo pipefail.

# Our own name in messages, also when the caller was run as `bash path/to/it`.
DOOR=$(basename -- "$0" .sh)

# A control character in a path steers no terminal: it is written out (#11).
say() {
    local text=$*
    [[ $text != *[[:cntrl:]]* ]] || printf -v text '%q' "$text"
    printf '%s: %s\n' "$DOOR" "$text" >&2
}

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

# Says which of the paths $2... may be another user's, and why, or nothing. What is found in a
# folder above the project was named by nobody, and /tmp is writable for all: it counts only
# where it belongs to the caller or root and nobody else can change it (#11). With `passed` as
# $1 a sticky folder will do: nobody can exchange there what is another's.
not_ours() {
    local how=$1 listed mode user group name
    shift
    listed=$(LC_ALL=C ls -ldnq -- "$@" 2>/dev/null) || { printf 'it cannot be looked at'; return; }
    while read -r mode _ user group _ _ _ _ name; do
        if [ "$user" != 0 ] && [ "$user" != "$EUID" ]; then
            printf '%s belongs to user %s' "${name%% -> *}" "$user"
            return
        fi
        if [[ $mode == l* ]] || [[ $how == passed && $mode == ?????????[tT]* ]]; then
            continue
        fi
        if [[ $mode == ????????w* ]] || { [[ $mode == ?????w* ]] && ! own_group "$group"; }; then
            printf '%s can be changed by others' "$name"
            return
        fi
    done <<<"$listed"
}

# Is this the caller's own group, as `useradd` makes one for each user? Others are shared.
own_group() { [ "$1" = 0 ] || { [ "$1" = "$(id -g)" ] && [ "$(id -gn)" = "$(id -un)" ]; }; }

# Says why what is at the path $1 is not to be believed, or nothing: asks for the path and for
# all folders on the way; also for what it leads to where it is a link to a folder. The folder
# $2, the project's, is the caller's word: its code is run in any case.
doubt() {
    local path=$1 named=${2-} folder why real folders=()
    folder=$path
    while [ -n "$folder" ] && [ "$folder" != / ]; do
        folder=${folder%/*}
        folders+=("${folder:-/}")
    done
    why=$(not_ours kept "$path")
    # bash before 4.4 ends at an empty array, here that of "/" itself.
    if [ -z "$why" ] && [ ${#folders[@]} -gt 0 ] && [ "${folders[0]}" != "$named" ]; then
        why=$(not_ours passed "${folders[@]}")
    fi
    if [ -z "$why" ] && [ -L "$path" ] && [ -d "$path" ]; then
        real=$(CDPATH='' cd -- "$path" && pwd -P) && why=$(doubt "$real")
    fi
    printf '%s' "$why"
}

# Says why the virtualenv $1 is not to be believed, or nothing; $2 as above.
doubt_venv() {
    local why part parts=()
    why=$(doubt "$1" "${2-}")
    for part in bin bin/python lib pyvenv.cfg; do
        [ ! -e "$1/$part" ] || parts+=("$1/$part")
    done
    if [ -z "$why" ] && [ ${#parts[@]} -gt 0 ]; then
        why=$(not_ours kept "${parts[@]}")
    fi
    [ -z "$why" ] || printf '%s (VIRTUAL_ENV=%q says that it is meant)' "$why" "$1"
}

# The nearest file or folder called $2 in $1 or above it, up to the repository's root, that
# is the caller's or root's. $3 is what else it has to pass.
find_upwards() {
    local directory=$1 name=$2 doubts=${3-doubt} named=$1 why
    while :; do
        if [ -e "$directory/$name" ]; then
            why=$("$doubts" "$directory/$name" "$named")
            if [ -z "$why" ]; then
                printf '%s\n' "$directory/$name"
                return 0
            fi
            say "$directory/$name is passed over: $why"
        fi
        if [ -e "$directory/.git" ] || [ "$directory" = "${HOME:-/}" ] || [ "$directory" = / ]; then
            return 1
        fi
        directory=$(dirname -- "$directory")
    done
}

# Sets PYTHON and PYTHON_ORIGIN for the project in $1. VIRTUAL_ENV is the caller's word, as
# PATH is; what is found beside or above the project has to be theirs.
choose_python() {
    local project=$1 name found lock why
    if [ -n "${VIRTUAL_ENV-}" ]; then
        if PYTHON=$(venv_python "$VIRTUAL_ENV"); then
            PYTHON_ORIGIN="the active virtualenv"
            return 0
        fi
        say "VIRTUAL_ENV is $VIRTUAL_ENV, which has no python; looking further"
    fi
    for name in .venv venv; do
        if found=$(find_upwards "$project" "$name" doubt_venv) && PYTHON=$(venv_python "$found"); then
            PYTHON_ORIGIN="the project's $name"
            return 0
        fi
    done
    # uv is not started: `uv run` would make an environment, fill it and write uv.lock (#11).
    if lock=$(find_upwards "$project" uv.lock); then
        if [ -n "${UV_PROJECT_ENVIRONMENT-}" ]; then
            found=$UV_PROJECT_ENVIRONMENT
            [[ $found == /* ]] || found=$(dirname -- "$lock")/$found
            if PYTHON=$(venv_python "$found"); then
                PYTHON_ORIGIN="uv's environment"
                return 0
            fi
        fi
        say "$lock is there and no environment: \`uv sync\` makes it, this script does not"
    fi
    # poetry tells where its environment is, and makes none for that.
    if lock=$(find_upwards "$project" poetry.lock) && command -v poetry >/dev/null 2>&1; then
        if found=$(cd -- "$project" && poetry --no-plugins --no-interaction env info --path 2>/dev/null) \
            && PYTHON=$(venv_python "$found"); then
            why=$(doubt_venv "$found")
            if [ -z "$why" ]; then
                PYTHON_ORIGIN="poetry's environment"
                return 0
            fi
            say "$found is passed over: $why"
        fi
        say "$lock is there and no environment: \`poetry install\` makes it, this script does not"
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
    local command=$1 scripts version options=(-I)
    shift
    scripts=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
    if ! choose_python "$(project_directory "$@")"; then
        say "no Python found: activate the project's virtualenv, or install Python 3.11 or newer"
        exit 6
    fi
    # -I: no folder of the project is on the path, so its platform.py is not the library's.
    if ! version=$("$PYTHON" -I -c \
        'import os, platform; print(platform.python_version(), os.name, end="")' 2>/dev/null)
    then
        say "$PYTHON ($PYTHON_ORIGIN) does not start; activate a working virtualenv"
        exit 6
    fi
    if [ "${version#* }" = nt ]; then
        say "$PYTHON is Windows' own, and proofs need a Unix: run this in WSL, with a Python of its own"
        exit 6
    fi
    version=${version%% *}
    case $version in
        [012].* | 3.[0-9] | 3.[0-9].* | 3.10 | 3.10.*)
            say "$PYTHON ($PYTHON_ORIGIN) is Python $version; 3.11 or newer is needed"
            exit 6
            ;;
    esac
    say "using $PYTHON (Python $version, $PYTHON_ORIGIN)"
    # What of the caller's wishes about Python -I would not see.
    [ -z "${PYTHONDONTWRITEBYTECODE-}" ] || options+=(-B)
    [ -z "${PYTHONPYCACHEPREFIX-}" ] || options+=(-X "pycache_prefix=$PYTHONPYCACHEPREFIX")
    exec "$PYTHON" "${options[@]}" "$scripts/run_toolkit.py" "$command" "$@"
}
