#!/usr/bin/env bash
# Run a Python script with the clients that tests use, in a venv of their own: clients_venv.sh SCRIPT ...
# The packages come from PyPI once; the versions are those tests/clients.txt names.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/clients/venv
if ! cmp -s tests/clients.txt "$venv/installed"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" -q --disable-pip-version-check install -r tests/clients.txt
    cp tests/clients.txt "$venv/installed"
fi
exec "$venv/bin/python" "$@"
