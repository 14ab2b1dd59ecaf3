"""A Slurm of one machine, to try radiogal on without a cluster: munged, slurmctld and slurmd from Debian, as root.

    python tests/cluster/local_slurm.py start FOLDER    # keys, states and logs are kept in the folder
    python tests/cluster/local_slurm.py stop FOLDER

Without systemd and control groups it enforces memory by sampling, as `JobAcctGatherParams=OverMemoryKill` says.
"""
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
DEFAULT_CONF = Path("/etc/slurm/slurm.conf")  # Snakemake's jobs strip SLURM_CONF from their environment, and look here
SECONDS = 300  # Until it has to answer

CONF = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=30
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=300
SlurmdTimeout=300
MessageTimeout=60
KillWait=5
MinJobAge=3600
SchedulerParameters=sched_interval=2,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def find_ports(n):
    "Ports that nobody listens on."
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets: s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets: s.close()
    return ports


def ask(*command):
    "What a Slurm command answers; nothing where it fails."
    try: return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS).stdout.strip()
    except subprocess.TimeoutExpired: return ""


def read_pid(path):
    "The process of a pid file, if it is alive."
    try:
        pid = int(path.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError): return None
    return pid


def write_conf(folder):
    "Settings for this machine, and a link to them where Slurm looks; another Slurm's settings stay, and are an error."
    memory = os.sysconf("SC_PAGE_SIZE")*os.sysconf("SC_PHYS_PAGES")//2**20*9//10
    host = socket.gethostname().split(".")[0]
    conf = CONF.format(host=host, ports=find_ports(2), folder=folder, cpus=os.cpu_count(), memory=memory)
    (folder/"slurm.conf").write_text(conf)
    if DEFAULT_CONF.exists() and not DEFAULT_CONF.is_symlink():
        sys.exit(f"{DEFAULT_CONF} is there: this machine has a Slurm already")
    DEFAULT_CONF.parent.mkdir(exist_ok=True)
    DEFAULT_CONF.unlink(missing_ok=True)
    DEFAULT_CONF.symlink_to(folder/"slurm.conf")


def start(folder):
    "Start what is not running, and wait until a job can run."
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        sys.exit(f"no {', '.join(missing)}: apt-get install munge slurmctld slurmd slurm-client")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name in ("controller", "node"): (folder/name).mkdir(exist_ok=True)
    key = folder/"munge.key"
    if not key.is_file():
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(1024))
    if not read_pid(folder/"slurmctld.pid"): write_conf(folder)
    munged = ["munged", "--force", f"--key-file={key}",
              *(f"--{what}={folder}/munge.{end}" for what, end in (
                  ("socket", "socket"), ("pid-file", "pid"), ("seed-file", "seed"), ("log-file", "log")))]
    for name, command in (("munge", munged), ("slurmctld", ["slurmctld"]), ("slurmd", ["slurmd"])):
        if not read_pid(folder/f"{name}.pid"): subprocess.run(command, check=True)
    until = time.monotonic() + SECONDS
    while ask("srun", "--quiet", "--immediate=5", "--mem=10", "echo", "up") != "up":
        if time.monotonic() > until: sys.exit(f"Slurm did not answer in {SECONDS} s: see the logs in {folder}")
        time.sleep(0.5)


def stop(folder):
    "Stop what was started, jobs first."
    ask("scancel", "--user=root")
    for name in ("slurmd", "slurmctld", "munge"):
        if pid := read_pid(folder/f"{name}.pid"): end(pid)
    if DEFAULT_CONF.is_symlink() and DEFAULT_CONF.readlink() == folder/"slurm.conf": DEFAULT_CONF.unlink()


def end(pid):
    "Ask a process to end; kill it if it does not."
    os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        try: os.kill(pid, 0)
        except ProcessLookupError: return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"): sys.exit(__doc__)
    (start if sys.argv[1] == "start" else stop)(Path(sys.argv[2]).resolve())
