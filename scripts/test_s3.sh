#!/usr/bin/env bash
# Runs the tests of stores on servers against an S3-compatible server on this machine.
#
#   scripts/test_s3.sh VENV
#
# VENV is a Python environment with `moto[s3,server]`.
set -euo pipefail
venv=${1:?"the folder of a Python environment with moto[s3,server]"}
cd "$(dirname "$0")/.."
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >/dev/null 2>&1 &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 100); do
    if "$venv/bin/python" -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2>/dev/null; then
        break
    fi
    sleep 0.2
done
PHENOCODER_S3="http://127.0.0.1:$port" \
    cargo test --release --locked -p phenocoder-io --features object-store --test it remote
