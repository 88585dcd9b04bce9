#!/usr/bin/env bash
# Everything needed to run all tests: own venv (.venv-tests), a Chromium, a PostgreSQL, a Redis, an nginx and a Node.js
# if none is there, lint, types, tests.
# Installs only what is missing, so a second run needs no network. Arguments go to pytest; while you work on Python,
# -m "not browser and not slow" leaves out what opens Chromium or takes seconds a test. --ollama [ADDRESS] runs, instead
# of all that, the checks of a real Ollama (tests/ollama_tier.py); --inspect reads exported logs with inspect-ai, which it
# installs into .venv-inspect (tests/inspect_check.py).
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE  # or each process that the tests start would compile the app again

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 1; }

# What leaves a core or the network idle runs beside other steps: `beside NAME COMMAND...` starts it, `together` waits for
# all of them, shows what they printed, and fails if one of them did.
names=() pids=()
trap '((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true' EXIT
beside() {
  mkdir -p .venv-tests/printed
  "${@:2}" >".venv-tests/printed/${#pids[@]}" 2>&1 &
  names+=("$1") pids+=($!)
}
together() {
  local i failed=0
  for i in "${!pids[@]}"; do
    wait "${pids[i]}" || failed=1
    say "${names[i]}"
    cat ".venv-tests/printed/$i"
  done
  names=() pids=()
  return "$failed"
}

python="${PYTHON:-python3}"
command -v "$python" >/dev/null || fail "there is no $python; install Python 3.11 or later, or set PYTHON to one."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || fail "$("$python" --version) is too old; install Python 3.11 or later, or set PYTHON to one."

# The venv belongs to one Python and one set of requirements; when either changes it is made anew.
wanted="$("$python" -c '
import hashlib, pathlib, sys
texts = [pathlib.Path(name).read_bytes() for name in ("requirements.txt", "tests/requirements.txt")]
print(hashlib.sha256(b"\0".join([sys.version.encode(), sys.executable.encode(), *texts])).hexdigest())')"
if [[ "$(cat .venv-tests/made-for 2>/dev/null || true)" != "$wanted" ]]; then
  say "Installing what the tests need into .venv-tests"
  rm -rf .venv-tests
  "$python" -m venv .venv-tests
  .venv-tests/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r tests/requirements.txt
  compile() {  # what would take pip half of its time; a few of the files are for other Pythons
    .venv-tests/bin/python -m compileall -qq .venv-tests || true
    echo "$wanted" > .venv-tests/made-for
  }
  beside "Compiling what the tests need" compile
fi
export PATH="$PWD/.venv-tests/bin:$PATH"

if [[ "${1:-}" == "--ollama" ]]; then
  wait
  exec python -m tests.ollama_tier "${@:2}"
fi
if [[ "${1:-}" == "--inspect" ]]; then
  wait
  exec python -m tests.inspect_check
fi

beside mypy mypy
beside codespell codespell
beside "JavaScript: types, lint, unit tests" tests/js/run.sh

# A Chromium: the system's if there is one, else Debian's package where we may install it, else Playwright's own.
find_chromium() {
  local name
  for name in chromium chromium-browser google-chrome; do
    command -v "$name" && return
  done
  python - <<'PY'
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    path = playwright.chromium.executable_path
print(path) if pathlib.Path(path).exists() else sys.exit(1)
PY
}
if [[ -z "${CHROMIUM:-}" ]] && ! CHROMIUM="$(find_chromium)"; then
  say "Installing Chromium"
  if command -v apt-get >/dev/null && [[ "$(id -u)" == 0 ]]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null
  else
    python -m playwright install chromium
  fi
  CHROMIUM="$(find_chromium)" || fail "no Chromium could be installed; install one and set CHROMIUM to its path."
fi
export CHROMIUM

# A PostgreSQL: the tests start a server of their own, so that one that runs here is left alone.
find_postgres() { command -v initdb || compgen -G "/usr/lib/postgresql/*/bin/initdb"; } >/dev/null
if ! find_postgres; then
  say "Installing PostgreSQL"
  if command -v apt-get >/dev/null && [[ "$(id -u)" == 0 ]]; then
    # without the cluster that Debian's package would make and start
    mkdir -p /etc/postgresql-common
    [[ -e /etc/postgresql-common/createcluster.conf ]] \
      || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null
  fi
  find_postgres || fail "there is no PostgreSQL; install one (Debian's package postgresql) and put initdb on the PATH."
fi

# A Redis or Valkey server, on which several replicas meet.
if ! command -v redis-server valkey-server >/dev/null; then
  say "Installing redis-server"
  if command -v apt-get >/dev/null && [[ "$(id -u)" == 0 ]]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null
  else
    fail "there is no redis-server or valkey-server; install one of them."
  fi
fi

# An nginx, behind which they are. It is in /usr/sbin, which not everybody has on the PATH.
find_nginx() { command -v nginx || [[ -x /usr/sbin/nginx ]]; } >/dev/null
if ! find_nginx; then
  say "Installing nginx"
  if command -v apt-get >/dev/null && [[ "$(id -u)" == 0 ]]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light >/dev/null
  fi
  find_nginx || fail "there is no nginx; install one (Debian's package nginx-light)."
fi

say "ruff"
ruff check .
ruff format --check .
together
say "pytest, Chromium at $CHROMIUM"
# Three workers, since a test of the page waits a third of its time. tests/conftest.py puts the files in order.
# Only the whole run is measured: tracing would make the fast lane longer.
cover=()
if [[ $# == 0 ]]; then
  cover=(--cov --cov-report=)
fi
pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=40 --durations-min=1 ${cover[@]+"${cover[@]}"} "$@"
