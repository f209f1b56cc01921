#!/usr/bin/env bash
# Slurm and munge from Debian's or Ubuntu's packages, where they are not there yet: for `make test-clusters`.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
if command -v slurmctld slurmd munged sbatch >/dev/null; then exit 0; fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Slurm is not installed and can be installed here only by root with apt-get: slurmctld slurmd slurm-client munge" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo "the lists of packages could not be renewed; trying with those at hand" >&2
apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
