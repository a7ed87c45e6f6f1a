"""The text of an alert, in English or Chinese, without a secret in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow.sdk.log import redact  # type: ignore[attr-defined] # exported without a word

from sqltune.alerts.event import ANSWER_PAGE, Alert, Event
from sqltune.environment import setting
from ssh_gang.masking import masked_text

LONGEST_FACT = 400
"""Characters of one fact: a message is a pointer to the page, and a chat cuts long ones."""

_TITLES: dict[str, dict[Event, str]] = {
    "en": {
        Event.FAILURE: "run failed",
        Event.HELD_BACK: "new model held back",
        Event.PROMOTED: "version {version} is served now",
        Event.OVERRUN: "run is past its deadline",
        Event.DATA_CHECK: "data check failed",
        Event.APPROVAL: "approval needed: serve the new model?",
        Event.LOSS: "training loss is off",
        Event.DISK: "disk is nearly full: {place}",
        Event.TEST: "test message",
    },
    "zh": {
        Event.FAILURE: "训练流程失败",
        Event.HELD_BACK: "新模型未通过评测，暂不上线",
        Event.PROMOTED: "版本 {version} 已上线",
        Event.OVERRUN: "运行超出时限，仍未结束",
        Event.DATA_CHECK: "数据检查未通过",
        Event.APPROVAL: "等待审批：新模型是否上线？",
        Event.LOSS: "训练 loss 异常",
        Event.DISK: "磁盘空间不足：{place}",
        Event.TEST: "测试消息",
    },
}
_LABELS: dict[str, dict[str, str]] = {
    "en": {
        "task": "Task: ",
        "cause": "Cause: ",
        "rules": "Rules not met: ",
        "score": "Score: ",
        "previous": "Served before: version ",
        "why": "Decided by: ",
        "deadline": "Deadline: ",
        "progress": "Progress: ",
        "action": "What happens: ",
        "cluster": "Cluster: ",
        "run": "Run: ",
        "link": "Details: ",
        "answer": "Answer here: ",
        "note": "",
    },
    "zh": {
        "task": "任务：",
        "cause": "原因：",
        "rules": "未达标的规则：",
        "score": "得分：",
        "previous": "此前版本：",
        "why": "决定方式：",
        "deadline": "时限：",
        "progress": "当前进度：",
        "action": "处理方式：",
        "cluster": "集群：",
        "run": "运行：",
        "link": "详情：",
        "answer": "请在此处理：",
        "note": "",
    },
}
_ACTIONS: dict[str, dict[str, str]] = {
    "en": {"stop": "the training is stopped", "tell": "the training goes on"},
    "zh": {"stop": "已停止训练", "tell": "训练继续"},
}
"""What `action` says, by the recipe's `on_loss`."""
_FACTS = (
    "note",
    "task",
    "cause",
    "rules",
    "score",
    "previous",
    "why",
    "deadline",
    "progress",
    "action",
    "cluster",
)
"""The facts that a message may state, in their order."""


@dataclass(frozen=True)
class Message:
    """What is sent."""

    title: str
    body: str


def language() -> str:
    """Return the language of the messages, from SQLTUNE_ALERT_LANGUAGE.

    An unknown one becomes English with a remark in `sqltune alert`: an alert must not fail of it.
    """
    wanted = setting("SQLTUNE_ALERT_LANGUAGE", "en")
    return wanted if wanted in _TITLES else "en"


def message(alert: Alert, language: str) -> Message:
    """Return the text of an alert.

    Every title begins with `[sqltune]`: Feishu's and DingTalk's robots can be set to accept only messages
    with a keyword.

    Args:
        alert: What happened.
        language: `en` or `zh`.
    """
    labels = _LABELS[language]
    facts = dict(alert.facts)
    facts["action"] = _ACTIONS[language].get(facts.get("action", ""), "")
    title = f"[sqltune] {_TITLES[language][alert.event].format_map(_Known(facts))}"
    lines = [f"{labels[name]}{_short(facts[name])}" for name in _FACTS if facts.get(name)]
    if alert.run_id:
        lines.append(f"{labels['run']}{alert.run_id}")
    if alert.link:
        label = labels["answer" if alert.link.endswith(ANSWER_PAGE) else "link"]
        lines.append(f"{label}{alert.link}")
    return Message(title=title, body=without_secrets("\n".join(lines)))


class _Known(dict[str, str]):
    """Facts of a title; a question mark for what could not be looked up."""

    def __missing__(self, name: str) -> str:
        return "?"


def without_secrets(text: str) -> str:
    """Return a text as it would appear in a task's log: with `***` in place of every secret."""
    return masked_text(str(redact(text)))


def first_lines(text: str) -> str:
    """Return the cause of a failure in one line: the first line of its message, and what it announces.

    A line that ends with a colon announces the list below it, such as the mistakes in a form.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return " ".join(lines) if lines[0].endswith(":") else lines[0]


def _short(text: str) -> str:
    one_line = re.sub(r"\s+", " ", text).strip()
    return one_line if len(one_line) <= LONGEST_FACT else f"{one_line[: LONGEST_FACT - 1]}…"
