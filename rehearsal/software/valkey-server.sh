#!/bin/sh
# Starts Redis 7 with a configuration of Valkey 9, without what it does not know.
exec redis-server - <<EOF
$(sed '/^tls-auto-reload-interval /d' "$1")
EOF
