#!/bin/sh
# Checks what a running process exposes with Prometheus' own linter (Debian: prometheus).
# FARMGATE_ADMIN and FARMGATE_TOKEN say where and as whom, as for `farmgate status`.
set -eu
scrape=$(curl --silent --show-error --fail --max-time 10 \
    --header "Authorization: Bearer ${FARMGATE_TOKEN:-}" \
    "${FARMGATE_ADMIN:-http://127.0.0.1:9090}/metrics")
printf '%s\n' "$scrape" | promtool check metrics
echo "promtool: $(printf '%s\n' "$scrape" | grep -vc '^#') series are clean"
