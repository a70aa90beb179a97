#!/usr/bin/env bash
# Install ductor into this checkout: no root, no questions, safe to run again. Works with bash 3.2 (macOS) and plain sh.
#
#   ./install.sh                 the environment in .venv and the command ductor in ~/.local/bin
#   ./install.sh demo [words]    the same, then `ductor demo [words]`
#   ./install.sh test [words]    the environment with the test tools, then the whole test suite; words go to pytest
#
# PYTHON=/path/to/python picks the interpreter. DUCTOR_E2E=1 also fetches the agents' command lines for the tests.
# Writes into this folder only, and ~/.local/bin/ductor.
set -eu

here=$(cd "$(dirname "$0")" && pwd -P)
venv="$here/.venv"
cache="$here/.cache"
log="$cache/install.log"
claude_version=2.1.197
codex_version=0.169.0

say() { printf '%s\n' "$@"; }

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Sets $python. A name on PATH proves nothing (pyenv's stand-ins fail when run), so each one is tried.
find_python() {
    found="" without_venv=""
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.14 python3.13 python3.12 python3.11 python3; fi
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 || continue
        if ! usable "$name"; then
            found="$found
    $(command -v "$name"): $("$name" --version 2>&1 | head -n 1)"
        elif "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            python=$name
            return
        else
            without_venv=$name
        fi
    done
    [ -z "$without_venv" ] || fail \
        "$(command -v "$without_venv") cannot make virtual environments: its venv or ensurepip module is missing." \
        "  Debian, Ubuntu:  sudo apt install python3-venv" \
        "Then run ./install.sh again."
    fail "ductor needs Python 3.11 or newer. Found:${found:-
    ${PYTHON:-no python3 on PATH}${PYTHON:+ (from PYTHON) does not run}}" \
        "  Debian 12, Ubuntu 24.04 or newer:  sudo apt install python3 python3-venv" \
        "  Fedora:                            sudo dnf install python3" \
        "  macOS:                             brew install python" \
        "Then run ./install.sh again, or name another one:  PYTHON=/path/to/python3 ./install.sh"
}

# What the environment was made from. It does not survive a move of the checkout, so the path counts.
stamp() { { printf '%s\n' "$here" "$1"; cat "$here/pyproject.toml"; } | cksum; }

made_here() { [ "$(cat "$venv/made-in" 2>/dev/null)" = "$here" ]; }

# Runs a command that uses pip so that it writes nothing into HOME: pip keeps a cache, and asks rustc for its version,
# whose stand-in from rustup makes a folder.
kept_in() { PIP_USER=0 PIP_CACHE_DIR="$cache/pip" PIP_DISABLE_PIP_VERSION_CHECK=1 RUSTUP_HOME="$cache/rustup" "$@"; }

# prepare run|test: the environment, with the test tools or without
prepare() {
    mark="$venv/stamp-$1"
    if made_here && usable "$venv/bin/python" && [ "$(cat "$mark" 2>/dev/null)" = "$(stamp "$1")" ]; then return; fi
    mkdir -p "$cache"
    if ! made_here || ! usable "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        find_python
        say "Making the environment in $venv ($("$python" --version 2>&1))"
        rm -rf "$venv"
        kept_in "$python" -m venv "$venv" >"$log" 2>&1 || explain "The environment could not be made."
        printf '%s\n' "$here" >"$venv/made-in"
    fi
    what=$here
    [ "$1" = run ] || what="$here[$1]"
    say "Installing what ductor needs"
    kept_in "$venv/bin/python" -m pip install --quiet --editable "$what" >"$log" 2>&1 || explain "The Python packages could not be installed."
    stamp "$1" >"$mark"
}

explain() {
    tail -n 15 "$log" >&2
    if grep -Eqi 'NewConnectionError|name resolution|could not resolve|network is unreachable|connection refused|ConnectTimeout|ProxyError|ENOTFOUND' "$log"; then
        fail "" "$1 There seems to be no network, or no way to the package server. Then run ./install.sh again." "All of it: $log"
    fi
    fail "" "$1 The last lines are above, all of it is in $log"
}

# The command `ductor`. A file of that name that is not ours stays as it is.
link() {
    start="$venv/bin/ductor"
    folder="${HOME:-}/.local/bin"
    target="$folder/ductor"
    if [ -z "${HOME:-}" ] || ! mkdir -p "$folder" 2>/dev/null || [ ! -w "$folder" ]; then
        say "Cannot write into ~/.local/bin, so start ductor with  $start"
        return
    fi
    if [ -e "$target" ] && ! grep -q "made by ductor's install.sh" "$target" 2>/dev/null; then
        say "$target is something else and stays as it is; start ductor with  $start"
        return
    fi
    rm -f "$target"
    cat >"$target" <<END
#!/bin/sh
# made by ductor's install.sh
[ -x '$start' ] || { echo "ductor is no longer in $here; run its install.sh again" >&2; exit 1; }
exec '$start' "\$@"
END
    chmod 755 "$target"
    start=ductor
    case ":$PATH:" in
        *":$folder:"*) ;;
        *)
            say "$folder is not on your PATH. Add this line to ~/.profile (macOS: ~/.zprofile) and open a new terminal:" \
                "    export PATH=\"\$HOME/.local/bin:\$PATH\""
            start=$target
            ;;
    esac
}

next_step() {
    config="${DUCTOR_HOME:-${HOME:-}/.ductor}/config/config.toml"
    if [ -e "$config" ]; then
        say "ductor is installed. Start it with  $start"
        return
    fi
    say "ductor is installed. To try it without Telegram:  $start demo" \
        "" \
        "To use it, write these lines, with your own values, into $config:"
    "$venv/bin/python" -c 'from ductor_lib.config import EXAMPLE; print(*(f"    {line}" for line in EXAMPLE), sep="\n")'
    say "(The folder first:  mkdir -p -m 700 \"$(dirname "$(dirname "$config")")\" \"$(dirname "$config")\")" \
        "Then start it with  $start"
}

# fetch name package: the command line of an agent into .cache/cli, once. Without it the tests that need it are skipped.
fetch() {
    if command -v "$1" >/dev/null 2>&1; then return; fi
    if ! command -v npm >/dev/null 2>&1; then
        say "npm is not installed, so the tests with the real $1 are skipped"
        return
    fi
    say "Fetching $2 for the tests"
    npm_config_cache="$cache/npm" npm install --prefix "$cache/cli" --no-audit --no-fund --no-update-notifier --loglevel=error "$2" \
        >"$log" 2>&1 </dev/null || { tail -n 5 "$log" >&2; say "$2 could not be fetched, so the tests with the real $1 are skipped"; }
}

verb=${1:-}
unset PYTHONHOME PYTHONPATH
case "$verb" in
    "")
        prepare run
        link
        next_step
        ;;
    demo)
        shift
        prepare run
        link
        exec "$venv/bin/ductor" demo "$@"
        ;;
    test)
        shift
        prepare test
        if [ "${DUCTOR_E2E:-}" = 1 ]; then
            mkdir -p "$cache/cli"
            PATH="$cache/cli/node_modules/.bin:$PATH"
            export PATH
            fetch claude "@anthropic-ai/claude-code@$claude_version"
            fetch codex "@openai/codex@$codex_version"
        fi
        cd "$here"
        exec "$venv/bin/python" -m pytest -n auto "$@"
        ;;
    *)
        sed -n '2,/^# Writes/s/^# \{0,1\}//p' "$0"
        [ "$verb" = --help ] || [ "$verb" = -h ] || fail "install.sh: unknown word: $verb"
        ;;
esac
