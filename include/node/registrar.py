"""Registers the model workers with FastChat's controller, each as the program that it is to supervisor.

    python registrar.py FOLDER CONTROLLER VERSION

FastChat's workers take up to 45 s to notice that the controller was restarted, so the workers here do not
register themselves. The controller knows no served name: `FOLDER/workers/*.json` holds the names of each
worker, and the front door looks there, so a name can move to another worker that is running already.

Standard library only and in one file: a copy of it runs beside the servers, whatever version of the code is
used next.
"""

from __future__ import annotations

import http.client
import json
import math
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

VERSION = 2
"""Raised with each change of what it does: it is in its command, so that supervisor restarts an older one."""
EVERY = 1.0
"""Seconds between two heartbeats."""
PROBE = "-- SQL\nSELECT"
"""Prompt that a model must answer to count as ready."""
PROBE_TIMEOUT = 60
"""Seconds for the answer."""


def post(url: str, body: dict[str, Any], timeout: float = 5, key: str = "") -> dict[str, Any] | None:
    """POST JSON to one of the model servers, by address and never through a proxy of the environment.

    Returns:
        The answer; None when it is empty.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout) as response:
        text = response.read()
    return json.loads(text) if text.strip() else None


def register(controller: str, address: str, names: list[str]) -> None:
    """Tell the controller which names a worker answers to; without any it receives no more requests.

    Raises:
        OSError: The controller does not answer.
    """
    status = {"model_names": names, "speed": 1, "queue_length": 0}
    post(
        f"{controller}/register_worker",
        {"worker_name": address, "check_heart_beat": True, "worker_status": status, "multimodal": False},
    )


def idle_seconds(address: str, program: str) -> float:
    """Seconds since a worker's last request ended, of a process that serves several; 0 while it has one.

    Raises:
        OSError: The process does not listen.
    """
    status = post(f"{address}/worker_get_status", {}) or {}
    return float(status["idle"].get(program, math.inf))


def queue_length(address: str) -> int:
    """Requests that a worker has not answered yet.

    Raises:
        OSError: The worker does not listen.
    """
    return int((post(f"{address}/worker_get_status", {}) or {})["queue_length"])


def probe(api: str, name: str, key: str) -> str:
    """Why the model of a name does not answer a prompt through the API; empty when it does."""
    body = {"model": name, "prompt": PROBE, "max_tokens": 4, "temperature": 0}
    try:
        answer = post(f"{api}/v1/completions", body, PROBE_TIMEOUT, key)
    except urllib.error.HTTPError as e:
        return f"{e} {e.read()[:300].decode(errors='replace')}"
    except (OSError, http.client.HTTPException, ValueError) as e:
        return str(e)
    return "" if answer and "choices" in answer else json.dumps(answer)[:300]


def send_heartbeats(folder: Path, controller: str, registered: dict[str, list[str]]) -> None:
    """Send one heartbeat for each live process; register those that the controller does not know.

    Args:
        folder: Folder of the model servers.
        controller: Address of the controller.
        registered: Addresses that were registered by this process, and as which workers; the others were
            registered by an older version, if at all, and under their served names.
    """
    for address, programs in sorted(addresses(folder).items()):
        try:
            _send_heartbeat(address, programs, controller, registered)
        except (OSError, ValueError, KeyError):
            # It starts, is being restarted, or has just been removed: the next heartbeat shows which.
            continue


def addresses(folder: Path) -> dict[str, list[str]]:
    """The workers at each address that one with a name listens at.

    Where all of them are drained, a heartbeat would open a connection, for whose end the switch waits.

    Args:
        folder: Folder of the model servers.
    """
    programs: dict[str, list[str]] = {}
    named = set()
    for path in sorted((folder / "workers").glob("*.json")):
        try:
            worker = json.loads(path.read_text())
            address = f"http://{worker['bind']}:{worker['port']}"
            programs.setdefault(address, []).append(path.stem)
            if worker["names"]:
                named.add(address)
        except (OSError, ValueError, KeyError):
            # Removed since the folder was listed, or of the first version, which registers itself.
            continue
    return {address: programs[address] for address in named}


def _send_heartbeat(
    address: str, programs: list[str], controller: str, registered: dict[str, list[str]]
) -> None:
    heartbeat = {"worker_name": address, "queue_length": queue_length(address)}
    known = (post(f"{controller}/receive_heart_beat", heartbeat) or {}).get("exist")
    if not known or registered.get(address) != programs:
        register(controller, address, programs)
        registered[address] = programs
        print(f"registered {address} as {', '.join(programs)}", flush=True)


if __name__ == "__main__":
    done: dict[str, list[str]] = {}
    while True:
        send_heartbeats(Path(sys.argv[1]), sys.argv[2], done)
        time.sleep(EVERY)
