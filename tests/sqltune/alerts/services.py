"""Servers that the alerts are sent to: the chat services' own names, answered on this machine.

A test's process finds the services' hosts at 127.0.0.1, where one HTTPS server has a certificate for all of
them. Each answers as the vendor documents it, and refuses what the vendor would refuse.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOSTS = (
    "open.feishu.cn",
    "open.larksuite.com",
    "oapi.dingtalk.com",
    "qyapi.weixin.qq.com",
    "hooks.slack.com",
)
DINGTALK_SECRET = "SEC0123456789abcdef0123456789abcdef"


@dataclass
class Request:
    """What a service was sent."""

    host: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Services:
    """The services: what each has received, and how it answers the next requests."""

    port: int = 0
    received: list[Request] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Status of the next answers, before the service's own."""
    pause: float = 0.0
    """Seconds before each answer."""

    def to(self, host: str) -> list[Request]:
        """What one host has received."""
        return [request for request in self.received if request.host == host]


def answer(request: Request) -> tuple[int, str]:
    """What the vendor's server answers, by its documentation."""
    match request.host:
        case "open.feishu.cn" | "open.larksuite.com":
            # https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
            text = request.body.get("content", {}).get("text", "")
            if request.body.get("msg_type") != "text" or not text:
                return 200, json.dumps({"code": 9499, "msg": "Bad Request", "data": {}})
            if "[sqltune]" not in text:
                return 200, json.dumps({"code": 19024, "msg": "Key Words Not Found"})
            return 200, json.dumps({"code": 0, "msg": "success", "data": {}})
        case "oapi.dingtalk.com":
            return 200, json.dumps(dingtalk(request))
        case "qyapi.weixin.qq.com":
            # https://developer.work.weixin.qq.com/document/path/91770
            if request.query.get("key") != "wecom-key":
                return 200, json.dumps({"errcode": 93000, "errmsg": "invalid webhook url"})
            if request.body.get("msgtype") != "text" or not request.body["text"]["content"]:
                return 200, json.dumps({"errcode": 40008, "errmsg": "invalid message type"})
            return 200, json.dumps({"errcode": 0, "errmsg": "ok"})
        case "hooks.slack.com":
            # https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
            if not (request.body.get("text") or request.body.get("attachments")):
                return 400, "no_text"
            return 200, "ok"
    return 200, ""


def dingtalk(request: Request) -> dict[str, Any]:
    """Answer of DingTalk's robot, whose security setting is a signature.

    https://open.dingtalk.com/document/orgapp/customize-robot-security-settings
    """
    timestamp = request.query.get("timestamp", "")
    text = f"{timestamp}\n{DINGTALK_SECRET}".encode()
    sign = base64.b64encode(hmac.new(DINGTALK_SECRET.encode(), text, hashlib.sha256).digest()).decode()
    if request.query.get("sign") != sign or abs(time.time() * 1000 - int(timestamp)) > 3_600_000:
        return {"errcode": 310000, "errmsg": "sign not match"}
    if request.body.get("msgtype") != "text" or not request.body["text"]["content"]:
        return {"errcode": 40035, "errmsg": "缺少参数 json"}
    return {"errcode": 0, "errmsg": "ok"}


@contextmanager
def http_server(services: Services, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve the services; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            address = urlsplit(self.path)
            length = int(self.headers["Content-Length"])
            request = Request(
                host=self.headers["Host"].partition(":")[0],
                path=address.path,
                query={name: values[0] for name, values in parse_qs(address.query).items()},
                headers=dict(self.headers),
                body=json.loads(self.rfile.read(length)),
            )
            services.received.append(request)
            time.sleep(services.pause)
            status, text = (services.statuses.pop(0), "{}") if services.statuses else answer(request)
            try:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())
            except OSError:
                pass  # the client has given up

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def resolved_here(port: int) -> Callable[..., list[Any]]:
    """A `socket.getaddrinfo` that finds the services' HTTPS at a local port, and only them."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, service: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if host in HOSTS:
            return real("127.0.0.1", port, *args, **kwargs)
        return real(host, service, *args, **kwargs)

    return getaddrinfo
