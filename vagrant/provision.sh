#!/bin/bash
# Makes a Debian 12 guest ready for tsrun's privileged tests: as root, once, repeatable.
# `vagrant up` runs it in the machines of the Vagrantfile, and `npm test` in its own VM
# (test/vm/run-in-vm --provision), so both test on the same system.
#
#   provision.sh [v1]     v1: boot with cgroup v1 from the next start on
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# What the tests compare with (runc, crun), run in containers (busybox) and look with, and the engines that call tsrun.
packages=(runc crun criu podman docker.io containerd buildah containernetworking-plugins xfsprogs busybox-static
  iproute2 procps uidmap apparmor bpftool jq strace kmod ca-certificates)
# A test starts the daemon that it needs; the machine's own would only take memory and time from them.
systemctl --quiet mask docker.service docker.socket containerd.service
missing=()
for name in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q ' installed$' || missing+=("$name")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "provision: installing ${missing[*]}"
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends "${missing[@]}"
fi

# Overlay is a module in Debian's kernels, and loading it on the first mount needs modprobe.
modprobe overlay || true
echo overlay >/etc/modules-load.d/tsrun.conf
# Rootless containers, and nested ones.
cat >/etc/sysctl.d/90-tsrun.conf <<'CONF'
kernel.unprivileged_userns_clone = 1
user.max_user_namespaces = 31000
CONF
sysctl -q --system >/dev/null 2>&1 || true

if [ "${1-}" = v1 ] && ! grep -q unified_cgroup_hierarchy=0 /proc/cmdline; then
  echo 'provision: cgroup v1 from the next boot on'
  mkdir -p /etc/default/grub.d
  echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1"' \
    >/etc/default/grub.d/tsrun.cfg
  update-grub
fi
echo "provision: done, cgroup $(stat -fc %T /sys/fs/cgroup)"
