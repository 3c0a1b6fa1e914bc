#!/usr/bin/env bash
# Keeps the logs of tasks, of which the bucket has copies, below the size at which the kubelet would evict the pod.
# Usage: clean-task-logs.sh DIRECTORY MIB
trap exit TERM
while true; do
  find "$1" -type f -mtime +7 -delete
  find "$1" -mindepth 1 -type d -empty -mtime +7 -delete
  while [ "$(du -sm "$1" | cut -f1)" -gt "$2" ]; do
    oldest=$(find "$1" -type f -size +0 -printf '%T@ %p\n' | sort -n | head -n 1 | cut -d ' ' -f 2-)
    [ -n "$oldest" ] || break
    # Emptied, since a task that still writes to a deleted file would go on taking space.
    : > "$oldest"
  done
  touch "$1/.cleaned"
  sleep 30 & wait $!
done
