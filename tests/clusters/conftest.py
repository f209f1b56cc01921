"""Start a one-node Slurm on this machine for the tests and stop it afterwards; needs root."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIG = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerType=sched/backfill
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# submitit gets job states from sacct, but this Slurm has no accounting; scontrol keeps them for a while.
SACCT = """\
#!/usr/bin/env python3
import re, subprocess, sys
print("JobID|State|NodeList")
for job in [after for flag, after in zip(sys.argv, sys.argv[1:]) if flag == "-j"]:
    told = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True).stdout
    for line in told.splitlines():
        has = dict(re.findall(r"(\\w+)=(\\S*)", line))
        name = f"{has['ArrayJobId']}_{has['ArrayTaskId']}" if "ArrayJobId" in has else has["JobId"]
        print(f"{name}|{has['JobState']}|{has.get('NodeList', '')}")
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start Slurm; yield the environment variables for its commands."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name, path=_path()) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found: `make test-clusters` installs Slurm where it may (apt-get, root)")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    config = CONFIG.format(folder=folder, host=os.uname().nodename, cores=os.cpu_count())
    (folder / "slurm.conf").write_text(config)
    sacct = folder / "bin" / "sacct"
    sacct.write_text(SACCT)
    sacct.chmod(0o755)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder / 'bin'}:{_path()}"}
    munge = Path("/run/munge")
    munge.mkdir(exist_ok=True)
    shutil.chown(munge, "munge", "munge")
    munged = shutil.which("munged", path=_path())
    subprocess.run(
        ["runuser", "-u", "munge", "--", str(munged)], check=False, capture_output=True
    )  # may be running already
    for daemon in (["slurmctld", "-i"], ["slurmd"]):
        subprocess.run(daemon, check=True, env=environment, capture_output=True)
    for _ in range(60):
        told = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if told.stdout.strip() == "idle":
            break
        time.sleep(0.5)
    else:
        pytest.fail(f"Slurm did not start: {told.stdout}{told.stderr}{(folder / 'slurmctld.log').read_text()[-2000:]}")
    yield environment
    subprocess.run(["scontrol", "shutdown"], env=environment, check=False, capture_output=True)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"
