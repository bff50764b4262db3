#!/usr/bin/env bash
# Sets everything up, then runs a suite (the demo by default) or the tests.
#   ./run_all.sh                 train and evaluate the demo's four backbones, write reports/demo/index.html
#   ./run_all.sh SUITE.yaml ...  the same for another suite; further words go to `eval-suite run`
#   ./run_all.sh test            lint, types, import contracts and tests
#   ./run_all.sh setup           set up only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '%s\n' "$*" >&2; }

find_uv() {
    if command -v uv >/dev/null 2>&1; then
        UV=(uv)
        return
    fi
    local tool=.venv-uv
    if [ ! -x "$tool/bin/uv" ]; then
        say "setup: fetching uv, the package installer"
        "${PYTHON:-python3}" -m venv "$tool"
        "$tool/bin/python" -m pip install --quiet "uv>=0.9"
    fi
    UV=("$tool/bin/uv")
}

# What is installed follows from these files alone; the stamp remembers their hash.
wanted() { cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1; }

setup() {
    local stamp=.venv/.installed
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted)" ]; then
        return
    fi
    find_uv
    local begin=$SECONDS
    say "setup: installing torch, MMDetection and the rest into .venv; the first time takes about 15 minutes on two cores, because mmcv compiles its operators against the installed torch"
    [ -x .venv/bin/python ] || "${UV[@]}" venv --quiet --python ">=3.11,<3.13" .venv
    install &
    local pid=$!
    trap 'kill $pid 2>/dev/null || true' EXIT
    local next=$((SECONDS + 30))
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        if [ "$SECONDS" -ge "$next" ]; then
            say "setup: $((SECONDS - begin)) s, still installing"
            next=$((SECONDS + 30))
        fi
    done
    trap - EXIT
    wait "$pid" || { say "setup failed; see .venv/setup.log, whose end is:"; tail -n 15 .venv/setup.log >&2; exit 1; }
    wanted >"$stamp"
    say "setup: done in $((SECONDS - begin)) s"
}

install() {
    # Every file is checked against the hashes of the lock; the project itself is installed in place.
    VIRTUAL_ENV=.venv "${UV[@]}" pip sync --compile-bytecode --require-hashes requirements.lock >.venv/setup.log 2>&1
    VIRTUAL_ENV=.venv "${UV[@]}" pip install --no-deps --editable . >>.venv/setup.log 2>&1
}

check() {
    local bin=.venv/bin
    say "check: lint";             "$bin/ruff" check . && "$bin/ruff" format --check .
    say "check: types";            "$bin/mypy"
    say "check: import contracts"; "$bin/lint-imports"
    say "check: tests";            "$bin/pytest" -n auto --maxprocesses 4 "$@"
}

case "${1:-}" in
    -h | --help) sed -n '2,7p' "$0" | cut -c3- ;;
    setup) setup ;;
    test) shift; setup; check "$@" ;;
    *) setup; exec .venv/bin/eval-suite run "$@" ;;
esac
