#!/usr/bin/env bash
# Install Slurm and munge from Debian or Ubuntu packages if they are missing, for `make test-clusters`.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
if command -v slurmctld slurmd munged sbatch >/dev/null; then exit 0; fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Slurm is missing; install it as root with apt-get: slurmctld slurmd slurm-client munge" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo "apt-get update failed; trying with the existing package lists" >&2
apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
