#!/bin/sh
# Becomes the command of a container: makes its root out of read-only pieces of this machine, and gives up every right.
# usage, in fresh mount, pid, uts and ipc namespaces: container.sh ROOT PLAN HOSTNAME UID COMMAND...
# Each line of PLAN is one piece, in the order of the paths: KIND SOURCE TARGET [OPTIONS]. The environment is the command's,
# so this script finds its tools by their full paths.
set -eu
root=$1 plan=$2 uid=$4
/usr/bin/hostname "$3"
shift 4
/usr/bin/mount -t tmpfs -o mode=755 tmpfs "$root"
while read -r kind source target options; do
  place=$root$target
  case $kind in
    link)
      /usr/bin/mkdir -p "${place%/*}"
      /usr/bin/ln -s "$source" "$place"
      continue
      ;;
    overlay)
      /usr/bin/mkdir -p "$place"
      /usr/bin/mount -t overlay -o "lowerdir=$source:$target" overlay "$place"
      continue
      ;;
    proc | tmpfs)
      /usr/bin/mkdir -p "$place"
      /usr/bin/mount -t "$kind" ${options:+-o "$options"} "$kind" "$place"
      continue
      ;;
  esac
  if [ -d "$source" ]; then
    /usr/bin/mkdir -p "$place"
  elif [ ! -e "$place" ]; then
    /usr/bin/mkdir -p "${place%/*}"
    : >"$place"
  fi
  /usr/bin/mount --bind "$source" "$place"
  [ "$kind" = rw ] || /usr/bin/mount -o remount,bind,ro "$place"
done <"$plan"
/usr/bin/mount -o remount,ro "$root"
exec /usr/sbin/chroot "$root" \
  /usr/bin/setpriv --reuid="$uid" --regid="$uid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
