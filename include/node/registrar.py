"""Keeps FastChat's controller told of the models that are served, and under which names.

    python registrar.py FOLDER CONTROLLER BIND

FastChat's workers register themselves under the name they were started with, and notice after up to 45 s that a controller was restarted. Ours do not
register: which name a worker answers to is what `FOLDER/workers/*.json` says, so that a name can move to another worker that runs already.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

EVERY = 1.0
"""Seconds between two looks."""


def post(url: str, body: dict, timeout: float = 5, key: str = "") -> dict | None:
    """POST JSON; the answer, or None when it is empty. Our own servers, by address: never through a proxy that the environment names."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        request, timeout=timeout
    ) as answer:
        text = answer.read()
    return json.loads(text) if text.strip() else None


def register(controller: str, address: str, names: list[str], queue_length: int = 0) -> None:
    """Tell the controller which names a worker answers to; without any it gets no more requests. OSError when the controller does not answer."""
    status = {"model_names": names, "speed": 1, "queue_length": queue_length}
    post(
        f"{controller}/register_worker",
        {"worker_name": address, "check_heart_beat": True, "worker_status": status, "multimodal": False},
    )


def queue_length(address: str) -> int:
    """Requests a worker has and has not answered; OSError when it does not listen."""
    return int((post(f"{address}/worker_get_status", {}) or {})["queue_length"])


def beat(folder: Path, controller: str, bind: str) -> None:
    """One heartbeat for each worker that lives; one that the controller does not know is registered."""
    for path in sorted((folder / "workers").glob("*.json")):
        try:
            worker = json.loads(path.read_text())
            if not worker["names"]:
                # It is being drained: who waits for its last connection would see ours.
                continue
            address = f"http://{bind}:{worker['port']}"
            known = post(
                f"{controller}/receive_heart_beat",
                {"worker_name": address, "queue_length": queue_length(address)},
            )
            if not (known or {}).get("exist"):
                register(controller, address, worker["names"])
                print(f"registered {address} as {', '.join(worker['names'])}", flush=True)
        except (OSError, ValueError, KeyError, urllib.error.URLError):
            # It starts, or is being restarted, or has just been taken away: the next look tells.
            continue


if __name__ == "__main__":
    while True:
        beat(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
        time.sleep(EVERY)
