#!/usr/bin/env bash
# Runs the tests of stores on servers, and the example `server`, against an S3-compatible server on this machine.
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

"$venv/bin/python" - "$port" <<'END'
import sys, urllib.request
address = f"http://127.0.0.1:{sys.argv[1]}/phenocoder-example"
urllib.request.urlopen(urllib.request.Request(address, method="PUT"))
END
example() {
    AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test \
        cargo run --release --locked -p phenocoder-io --features object-store --example server -- "$@" \
        s3://phenocoder-example/tissue.zarr "aws_endpoint=http://127.0.0.1:$port" aws_allow_http=true aws_region=us-east-1
}
made=$(example write)
read=$(example)
echo "$read"
[[ $made == "$read" && $read == *"images/gradient"*"mean "* ]]
