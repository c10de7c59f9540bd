#!/bin/sh
# The first process of the local cluster's namespaces: makes its view of the machine, says that it is ready, and becomes `pause`.
# Whatever is mounted, created or started from here on vanishes with it; the machine's own mounts, /run, /var/lib, /var/log and
# kernel settings are not touched.
set -eu
state=$1
pause=$2

# The state folder must stay the real one below the /var/lib that is laid over the machine's.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/keep /run/sys /run/var-lib/upper /run/var-lib/work
mount --rbind "$state" /run/keep
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/var-lib/upper,workdir=/run/var-lib/work overlay /var/lib
mount --rbind /run/keep "$state"
umount -l /run/keep
mount --bind "$state/var-log" /var/log

# A resolv.conf that is a link into the machine's /run would now lead nowhere.
resolv=$(readlink -f /etc/resolv.conf || true)
case $resolv in
  /run/*)
    mkdir -p "$(dirname "$resolv")"
    cp "$state/resolv.conf" "$resolv"
    ;;
esac

# /sys must show this network namespace; what is mounted below it comes along.
mount --rbind /sys /run/sys
mount -t sysfs sysfs /sys
for below in fs/cgroup kernel/security fs/bpf; do
  if mountpoint -q "/run/sys/$below"; then mount --rbind "/run/sys/$below" "/sys/$below"; fi
done
umount -R -l /run/sys

# The kubelet insists on these settings of the whole machine. It finds them as it wants them, and the machine keeps its own.
mkdir -p /run/sysctl
insist() {
  setting=/proc/sys/$(echo "$1" | tr . /)
  if [ -e "$setting" ]; then
    echo "$2" >"/run/sysctl/$1"
    mount --bind "/run/sysctl/$1" "$setting"
  fi
}
insist vm.overcommit_memory 1
insist vm.panic_on_oom 0
insist kernel.panic 10
insist kernel.panic_on_oops 1
insist kernel.keys.root_maxkeys 1000000
insist kernel.keys.root_maxbytes 25000000

# Settings of this network namespace alone.
echo 1 >/proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables; fi
ip link set lo up

# As a node's mounts are: what is mounted in here reaches the pods, and never the machine.
mount --make-rshared /
touch "$state/run/namespace.ready"
exec "$pause"
