#!/bin/sh
# Runs a command in mounts of its own, where what it writes into /etc and /var/lib goes to memory and is gone afterwards: buildah leaves
# a folder in both. The folder named first is kept real. Run by unshare (images.ts); not a sandbox.
set -eu
keep=$1
shift

mkdir -p /run/lock
mount -t tmpfs -o mode=755 tmpfs /run/lock
mkdir /run/lock/keep
mount --rbind "$keep" /run/lock/keep
for folder in /etc /var/lib; do
  upper=/run/lock/upper$folder
  work=/run/lock/work$folder
  mkdir -p "$upper" "$work"
  mount -t overlay -o "lowerdir=$folder,upperdir=$upper,workdir=$work" overlay "$folder"
done
mount --rbind /run/lock/keep "$keep"
umount -l /run/lock/keep
exec "$@"
