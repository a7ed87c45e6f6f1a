"""The lab's two hosts, each with a real sshd: network namespaces joined by a bridge, or ports on loopback."""

from __future__ import annotations

import getpass
import json
import shlex
import shutil
import subprocess
from pathlib import Path

from lab.settings import BASE, HOSTS, LAB, Settings

KEYS = LAB / "keys"
KEY = KEYS / "id_ed25519"
KNOWN_HOSTS = KEYS / "known_hosts"
BRIDGED_PACKETS_FILTERED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def run(*command: str) -> str:
    """Run a command; return its stdout.

    Raises:
        SystemExit: it failed; the message is its stderr.
    """
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{shlex.join(command)}: {finished.stderr.strip() or finished.stdout.strip()}")
    return finished.stdout


def _try(*command: str) -> bool:
    """Run a command that may fail; whether it succeeded."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def folder(host: str) -> Path:
    """A host's own folder, with its home and its keys."""
    return LAB / "hosts" / host


def make_network(s: Settings) -> None:
    """Create what is missing of the bridge, the hosts' namespaces and the links between them."""
    if not s.namespaces:
        return
    if s.bridge not in run("ip", "-o", "link"):
        run("ip", "link", "add", s.bridge, "type", "bridge")
        run("ip", "addr", "add", f"{s.address('')}/24", "dev", s.bridge)
        run("ip", "link", "set", s.bridge, "up")
    existing = run("ip", "netns", "list")
    for number, host in enumerate(HOSTS):
        if s.namespace(host) not in existing:
            _make_namespace(s, host, f"{s.bridge}v{number}")
    _accept_forwarding(s)


def _make_namespace(s: Settings, host: str, link: str) -> None:
    """Create a host's namespace, with an eth0 that is linked to the bridge."""
    name = s.namespace(host)
    run("ip", "netns", "add", name)
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
    run("ip", "link", "set", link, "master", s.bridge, "up")
    run("ip", "-n", name, "addr", "add", f"{s.address(host)}/24", "dev", "eth0")
    for interface in ("lo", "eth0"):
        run("ip", "-n", name, "link", "set", interface, "up")


def _forwarding_rule(s: Settings) -> list[str]:
    return ["FORWARD", "-i", s.bridge, "-o", s.bridge, "-j", "ACCEPT"]


def _accept_forwarding(s: Settings) -> None:
    """Accept bridged packets: after a Docker engine has run, they are dropped without an error."""
    is_filtered = BRIDGED_PACKETS_FILTERED.exists() and BRIDGED_PACKETS_FILTERED.read_text().strip() == "1"
    if is_filtered and shutil.which("iptables") and not _try("iptables", "-C", *_forwarding_rule(s)):
        run("iptables", "-I", *_forwarding_rule(s))


def remove_network(s: Settings) -> None:
    """Remove what make_network created."""
    if not s.namespaces:
        return
    for host in HOSTS:
        _try("ip", "netns", "delete", s.namespace(host))
    _try("ip", "link", "delete", s.bridge)
    if shutil.which("iptables"):
        _try("iptables", "-D", *_forwarding_rule(s))


def make_hosts(s: Settings) -> None:
    """Create keys, known_hosts, and each host's home with the base models and sshd's configuration."""
    KEYS.mkdir(parents=True, exist_ok=True)
    KEYS.chmod(0o700)
    if not KEY.exists():
        make_key(KEY, "sqltune-lab")
    if s.namespaces:
        # sshd's jail before a login; sshd does not start without it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    KNOWN_HOSTS.write_text("".join(_make_host(s, host) for host in HOSTS))


def make_key(path: Path, comment: str) -> None:
    """Create an SSH key without a passphrase."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def _make_host(s: Settings, host: str) -> str:
    """Create a host's files; return its line of known_hosts."""
    etc, home = folder(host) / "etc", folder(host) / "home"
    etc.mkdir(parents=True, exist_ok=True)
    home.mkdir(exist_ok=True)
    key = etc / "ssh_host_ed25519_key"
    if not key.exists():
        make_key(key, host)
    (etc / "authorized_keys").write_text(KEY.with_suffix(".pub").read_text())
    (etc / "sshd_config").write_text(sshd_config(s, host))
    _link_models(home / "models")
    address, port = s.address(host), s.ssh_ports[host]
    kind, public_key = key.with_suffix(".pub").read_text().split()[:2]
    return f"{address if port == 22 else f'[{address}]:{port}'} {kind} {public_key}\n"


def _link_models(models: Path) -> None:
    """Give a host its own copy of the base models; by hard links, so that the disk holds each file once."""
    for model in (BASE / "models").iterdir():
        if not (models / model.name).exists():
            shutil.copytree(
                model, models / model.name, copy_function=lambda old, new: Path(new).hardlink_to(old)
            )


def sshd_config(s: Settings, host: str) -> str:
    """The content of sshd_config: keys only, nothing of the system's own, and HOME is the host's folder."""
    etc = folder(host) / "etc"
    return f"""\
Port {s.ssh_ports[host]}
ListenAddress {s.address(host)}
HostKey {etc}/ssh_host_ed25519_key
PidFile none
AuthorizedKeysFile {etc}/authorized_keys
# The clone may be in a folder that other users may write to, such as /tmp; the key is the lab's own.
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
    """The command line that starts a host.

    In its own process namespace sshd is process 1: when it ends, every process of the host ends. The other
    host's folder is an empty one there, so that nothing is shared.
    """
    config = folder(host) / "etc" / "sshd_config"
    sshd = shlex.join([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(config)])
    if not s.namespaces:
        return sshd
    others = [shlex.quote(str(folder(h))) for h in HOSTS if h != host]
    hide = " && ".join(f"mount -t tmpfs -o size=64k none {other}" for other in others)
    namespaces = f"ip netns exec {s.namespace(host)} unshare --pid --fork --kill-child --mount-proc"
    return f"{namespaces} bash -c {shlex.quote(f'{hide} && exec {sshd}')}"


def connections(s: Settings) -> list[dict[str, object]]:
    """The Airflow Connections of the hosts, each with a key and with host keys that are checked."""
    return [
        {
            "connection_id": f"sqltune_lab_{host[-1]}",
            "conn_type": "ssh",
            "host": s.address(host),
            "port": s.ssh_ports[host],
            "login": getpass.getuser(),
            "description": f"The lab's {host}",
            "extra": json.dumps({"key_file": str(KEY), "known_hosts": str(KNOWN_HOSTS)}),
        }
        for host in HOSTS
    ]
