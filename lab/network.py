"""The lab's two hosts: network namespaces joined by a bridge, and a real sshd in each; or two ports on loopback."""

from __future__ import annotations

import getpass
import json
import shlex
import shutil
import subprocess
from pathlib import Path

from lab.settings import BASE, HOSTS, LAB, Settings

KEYS = LAB / "keys"


def _run(*command: str, check: bool = True) -> str:
    answer = subprocess.run(command, capture_output=True, text=True)
    if check and answer.returncode:
        raise SystemExit(f"{shlex.join(command)}: {answer.stderr.strip() or answer.stdout.strip()}")
    return answer.stdout


def folder(host: str) -> Path:
    """A host's own folder: its home and its keys."""
    return LAB / "hosts" / host


def make_network(s: Settings) -> None:
    """The bridge, a namespace per host, and a cable between; nothing is done twice."""
    if not s.namespaces:
        return
    if s.bridge not in _run("ip", "-o", "link"):
        _run("ip", "link", "add", s.bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{s.address('')}/24", "dev", s.bridge)
        _run("ip", "link", "set", s.bridge, "up")
    there = _run("ip", "netns", "list")
    for number, host in enumerate(HOSTS):
        name = s.namespace(host)
        if name in there:
            continue
        cable = f"{s.bridge}v{number}"
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", cable, "master", s.bridge, "up")
        _run("ip", "-n", name, "addr", "add", f"{s.address(host)}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _run("ip", "-n", name, "link", "set", link, "up")
    # Where a Docker engine has run, bridged packets are dropped: rank 1 would wait at the rendezvous without an error.
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists() and bridged.read_text().strip() == "1" and shutil.which("iptables"):
        rule = ["FORWARD", "-i", s.bridge, "-o", s.bridge, "-j", "ACCEPT"]
        if subprocess.run(["iptables", "-C", *rule], capture_output=True).returncode:
            _run("iptables", "-I", *rule)


def remove_network(s: Settings) -> None:
    """Take away what make_network made."""
    if not s.namespaces:
        return
    for host in HOSTS:
        _run("ip", "netns", "delete", s.namespace(host), check=False)
    _run("ip", "link", "delete", s.bridge, check=False)
    if shutil.which("iptables"):
        _run("iptables", "-D", "FORWARD", "-i", s.bridge, "-o", s.bridge, "-j", "ACCEPT", check=False)


def make_hosts(s: Settings) -> None:
    """Keys, known_hosts, and each host's home with the base models and sshd's configuration."""
    KEYS.mkdir(parents=True, exist_ok=True)
    KEYS.chmod(0o700)
    if not (KEYS / "id_ed25519").exists():
        _run(
            "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sqltune-lab", "-f", str(KEYS / "id_ed25519")
        )
    if s.namespaces:
        # sshd's own jail before a login; it refuses to start without.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    known = []
    for host in HOSTS:
        etc, home = folder(host) / "etc", folder(host) / "home"
        etc.mkdir(parents=True, exist_ok=True)
        home.mkdir(exist_ok=True)
        key = etc / "ssh_host_ed25519_key"
        if not key.exists():
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host, "-f", str(key))
        (etc / "authorized_keys").write_text((KEYS / "id_ed25519.pub").read_text())
        (etc / "sshd_config").write_text(sshd_config(s, host))
        models = home / "models"
        for model in (BASE / "models").iterdir():
            # Hard links: each host has its files, the disk holds them once.
            if not (models / model.name).exists():
                shutil.copytree(model, models / model.name, copy_function=lambda a, b: Path(b).hardlink_to(a))
        address, port = s.address(host), s.ssh_ports[host]
        known.append(
            f"{address if port == 22 else f'[{address}]:{port}'} {' '.join(key.with_suffix('.pub').read_text().split()[:2])}\n"
        )
    (KEYS / "known_hosts").write_text("".join(known))


def sshd_config(s: Settings, host: str) -> str:
    """Keys only, no root of the system's own configuration; HOME is the host's, not the user's."""
    etc = folder(host) / "etc"
    return f"""\
Port {s.ssh_ports[host]}
ListenAddress {s.address(host)}
HostKey {etc}/ssh_host_ed25519_key
PidFile none
AuthorizedKeysFile {etc}/authorized_keys
# The clone may lie in a folder that others may write to, such as /tmp; the key is the lab's own.
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
PrintMotd no
SetEnv HOME={folder(host)}/home
Subsystem sftp internal-sftp
"""


def sshd_command(s: Settings, host: str) -> str:
    """How supervisor starts a host. In its own process namespace sshd is process 1: when it ends, the whole host does."""
    config = folder(host) / "etc" / "sshd_config"
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if not s.namespaces:
        return f"{sshd} -D -e -f {config}"
    others = [folder(h) for h in HOSTS if h != host]
    # Nothing is shared: the other host's folder is an empty one here.
    hide = " && ".join(f"mount -t tmpfs -o size=64k none {shlex.quote(str(o))}" for o in others)
    inner = f"{hide} && exec {sshd} -D -e -f {shlex.quote(str(config))}"
    return f"ip netns exec {s.namespace(host)} unshare --pid --fork --kill-child --mount-proc bash -c {shlex.quote(inner)}"


def connections(s: Settings) -> list[dict[str, object]]:
    """The Airflow Connections of the hosts: a key, and host keys that are checked."""
    return [
        {
            "connection_id": f"sqltune_lab_{host[-1]}",
            "conn_type": "ssh",
            "host": s.address(host),
            "port": s.ssh_ports[host],
            "login": getpass.getuser(),
            "description": f"The lab's {host}",
            "extra": json.dumps(
                {"key_file": str(KEYS / "id_ed25519"), "known_hosts": str(KEYS / "known_hosts")}
            ),
        }
        for host in HOSTS
    ]
