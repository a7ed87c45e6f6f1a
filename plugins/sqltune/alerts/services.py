"""DingTalk's and WeCom's robots, with their answers checked.

Both answer a message that they refuse with HTTP 200 and an `errcode`, which Apprise 2.3.0 takes for success;
and Apprise encodes DingTalk's signature twice, so a robot with a secret refuses every message.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import requests
from apprise import Apprise, AppriseAsset
from apprise.plugins.base import NotifyBase
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.wecombot import NotifyWeComBot


class DingTalk(NotifyDingTalk):
    """A robot of a DingTalk group."""

    def send(
        self, body: Any, title: Any = "", notify_type: Any = None, body_format: Any = None, **kwargs: Any
    ) -> bool:
        """Send a text; return whether DingTalk accepted it."""
        payload = {
            "msgtype": "text",
            "text": {"content": _text(title, body)},
            "at": {"atMobiles": self.targets, "isAtAll": False},
        }
        params = {}
        if self.secret:
            timestamp, quoted = self.get_signature()  # type: ignore[no-untyped-call]
            params = {"timestamp": timestamp, "sign": unquote(quoted)}
        return _post(self, self.notify_url.format(token=self.token), payload, params)


class WeComBot(NotifyWeComBot):
    """A robot of a WeCom group."""

    def send(self, body: Any, title: Any = "", notify_type: Any = None, **kwargs: Any) -> bool:
        """Send a text; return whether WeCom accepted it."""
        return _post(self, self.api_url, {"msgtype": "text", "text": {"content": _text(title, body)}}, {})


_CHECKED: dict[type[NotifyBase], type[NotifyBase]] = {NotifyDingTalk: DingTalk, NotifyWeComBot: WeComBot}


def service(url: str, asset: AppriseAsset) -> NotifyBase | None:
    """Return the service that an Apprise URL names, or None where Apprise cannot read the URL."""
    found = Apprise.instantiate(url, asset=asset)
    if found is None or type(found) not in _CHECKED:
        return found
    checked = _CHECKED[type(found)]
    return checked(**(checked.parse_url(found.url()) or {}), asset=asset)


def _text(title: str, body: str) -> str:
    return f"{title}\n{body}" if title else body


def _post(robot: NotifyBase, url: str, payload: dict[str, Any], params: dict[str, str]) -> bool:
    robot.throttle()
    try:
        answer = requests.post(
            url,
            json=payload,
            params=params,
            verify=robot.verify_certificate,
            timeout=robot.request_timeout,
            allow_redirects=False,
        )
        problem = _problem(answer)
    except requests.RequestException as e:
        # Its text holds the address, which holds the token.
        problem = type(e).__name__
    if problem:
        robot.logger.warning("%s refused the message: %s", robot.service_name, problem)
    return not problem


def _problem(answer: requests.Response) -> str:
    if answer.status_code != 200:
        return f"error={answer.status_code}"
    try:
        content = answer.json()
    except requests.JSONDecodeError:
        return "its answer is not JSON"
    code = content.get("errcode")
    return f"errcode={code} {content.get('errmsg', '')}" if code else ""
