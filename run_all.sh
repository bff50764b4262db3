#!/usr/bin/env bash
# Sets everything up, then runs a suite (the demo by default) or the tests.
#   ./run_all.sh                 train and evaluate the demo's four backbones, write reports/demo/index.html
#   ./run_all.sh SUITE.yaml ...  the same for another suite; further words go to `eval-suite run`
#   ./run_all.sh test            lint, types, import contracts and tests; further words go to pytest (--cov=eval_suite)
#   ./run_all.sh setup           set up only
# PYTHON=/path/to/python3.12 ./run_all.sh chooses the Python; without it, any of 3.11 to 3.13 on this machine is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PYTHONS=">=3.11,<3.14"
LOG=.venv-setup.log

say() { printf '%s\n' "$*" >&2; }
fail() { say "setup: $*"; exit 2; }

find_uv() {
    if command -v uv >/dev/null 2>&1; then
        UV=(uv)
        return
    fi
    local tool=.venv-uv
    UV=("$tool/bin/uv")
    "${UV[@]}" --version >/dev/null 2>&1 && return
    say "setup: fetching uv, the package installer"
    rm -rf "$tool"
    { "${PYTHON:-python3}" -m venv "$tool" && "$tool/bin/python" -m pip install --quiet "uv>=0.9"; } >"$LOG" 2>&1 || explain
}

# What is installed follows from these files alone; the stamp remembers their hash.
wanted() { cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1; }

setup() {
    local stamp=.venv/.installed
    if [ -d .venv ] && ! .venv/bin/python -c "" 2>/dev/null; then
        say "setup: the Python of .venv does not run any more; making .venv again"
        rm -rf .venv
    fi
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted)" ]; then
        return
    fi
    local begin=$SECONDS
    find_uv
    [ -d .venv ] || "${UV[@]}" venv --quiet --python "${PYTHON:-$PYTHONS}" .venv >"$LOG" 2>&1 || explain
    .venv/bin/python -c "import sys; sys.exit(sys.version_info < (3, 11))" || {
        local found
        found=$(.venv/bin/python -V)
        rm -rf .venv
        fail "expected Python 3.11 to 3.13, found $found; name another one: PYTHON=/path/to/python3.12 ./run_all.sh"
    }
    say "setup: installing torch, MMDetection and the rest into .venv; about a minute, most of it 2.7 GB of downloads"
    install >"$LOG" 2>&1 &
    local pid=$!
    trap 'kill $pid 2>/dev/null || true' EXIT
    local next=$((SECONDS + 5))
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if [ "$SECONDS" -ge "$next" ]; then
            say "setup: $((SECONDS - begin)) s, $(tail -n 1 "$LOG" | sed 's/^ *//')"
            next=$((SECONDS + 5))
        fi
    done
    trap - EXIT
    wait "$pid" || explain
    wanted >"$stamp"
    # uv's own figures: downloading and building, linking into place, compiling to bytecode.
    say "setup: done in $((SECONDS - begin)) s ($(grep -E '^(Prepared|Installed|Bytecode)' "$LOG" | paste -s -d, | sed 's/,/, /g'))"
}

install() {
    # Every file is checked against the hashes of the lock; the project itself is installed in place.
    export VIRTUAL_ENV=.venv
    "${UV[@]}" pip sync --compile-bytecode --require-hashes requirements.lock
    "${UV[@]}" pip install --quiet --no-deps --editable .
    .venv/bin/python -m compileall -q eval_suite
}

# One line on why the installer failed: what was expected, what was found, what to do.
explain() {
    if grep -qiE "no space left|os error 28|disk quota" "$LOG"; then
        fail "expected 8 GB of free disk, found $(df -h --output=avail . | tail -n 1 | tr -d ' ') at $PWD; make room (or set UV_CACHE_DIR to another disk) and start again: what was downloaded is kept"
    elif grep -qiE "no (virtual environment or )?(system )?(python )?interpreter found|no interpreter|Python download" "$LOG"; then
        fail "expected Python 3.11 to 3.13, found $("${PYTHON:-python3}" -V 2>&1 | head -n 1); install one, or name it: PYTHON=/path/to/python3.12 ./run_all.sh"
    elif grep -qiE "ensurepip" "$LOG"; then
        fail "expected Python's venv module, found none; install it (Debian: python3-venv) or uv, and start again"
    elif grep -qiE "dns error|error sending request|connection (refused|reset)|timed out|name or service not known" "$LOG"; then
        fail "expected a package index, found no connection; see $LOG, and start again: what was downloaded is kept"
    fi
    say "setup failed; see $LOG, whose end is:"
    tail -n 15 "$LOG" >&2
    exit 1
}

check() {
    local bin=.venv/bin
    say "check: lint";             "$bin/ruff" check . && "$bin/ruff" format --check .
    say "check: types";            "$bin/mypy"
    say "check: import contracts"; "$bin/lint-imports"
    say "check: tests";            "$bin/pytest" -n auto --maxprocesses 4 --dist worksteal "$@"
}

case "${1:-}" in
    -h | --help) sed -n '2,8p' "$0" | cut -c3- ;;
    setup) setup ;;
    test) shift; setup; check "$@" ;;
    *) setup; exec .venv/bin/eval-suite run "$@" ;;
esac
