#!/bin/sh
# HAProxy, which reads its certificate once: it is told to load anew when the file is renewed, without losing a call.
# SIGTERM becomes its soft stop: clients are told to go, and their calls end.
set -eu
certificate=${EDGE_CERTIFICATE:-/etc/dragoman/tls/tls.crt}
haproxy -W -db -f "${EDGE_CONFIG:-/etc/edge-proxy/haproxy.cfg}" &
master=$!
trap 'kill -USR1 "$master"' TERM INT USR1
seen=$(cksum < "$certificate")
while kill -0 "$master" 2> /dev/null; do
  sleep "${EDGE_LOOK_SECONDS:-30}" &
  wait $! || true
  now=$(cksum < "$certificate" || echo "$seen")
  if [ "$now" != "$seen" ]; then
    seen=$now
    kill -USR2 "$master"
  fi
done
wait "$master"
