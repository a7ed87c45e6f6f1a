"""What each service receives, and what becomes of an alert that cannot be delivered."""

from __future__ import annotations

import email
from email.header import decode_header, make_header

import pytest
from aiosmtpd.controller import Controller
from airflow.sdk import BaseHook

from sqltune.alerts import delivery
from sqltune.alerts.delivery import deliver
from sqltune.alerts.event import Alert, Event
from tests.conftest import free_port
from tests.sqltune.alerts.services import DINGTALK_SECRET

FAILED = Alert(
    Event.FAILURE,
    run_id="scheduled__2026-11-29T02:00:00+00:00",
    link="https://airflow.example.com/dags/text2sql_retrain/runs/r1/plugin/text2sql",
    facts={"task": "train", "cause": "gpu-1 rank 3: exit code 1 at iter 120/500", "cluster": "gpu_2x4"},
)
TITLE = "[sqltune] run failed"
BODY = """\
Task: train
Cause: gpu-1 rank 3: exit code 1 at iter 120/500
Cluster: gpu_2x4
Run: scheduled__2026-11-29T02:00:00+00:00
Details: https://airflow.example.com/dags/text2sql_retrain/runs/r1/plugin/text2sql"""
ZH_TITLE = "[sqltune] 训练流程失败"
ZH_BODY = """\
任务：train
原因：gpu-1 rank 3: exit code 1 at iter 120/500
集群：gpu_2x4
运行：scheduled__2026-11-29T02:00:00+00:00
详情：https://airflow.example.com/dags/text2sql_retrain/runs/r1/plugin/text2sql"""
FEISHU = "feishu://0123abcd-feishu-token"
LARK = "lark://0123abcd-lark-token"
DINGTALK = f"dingtalk://{DINGTALK_SECRET}@0123abcddingtalktoken"
WECOM = "wecombot://wecom-key"
SLACK = "slack://T0123ABCD/B0123ABCD/0123456789abcdef01234567"


def send(alert: Alert = FAILED) -> list[delivery.Delivery]:
    """Send it as a task does."""
    return deliver(alert, BaseHook.get_connection("sqltune_alerts"))


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setenv("SQLTUNE_ALERT_LANGUAGE", "zh")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(delivery, "RETRY_WAIT", 0.02)


def test_feishu_receives_a_text(services, told, chinese):
    told(FEISHU)
    assert [d.error for d in send()] == [""]
    (request,) = services.to("open.feishu.cn")
    assert request.path.rstrip("/") == "/open-apis/bot/v2/hook/0123abcd-feishu-token"
    assert request.body == {"msg_type": "text", "content": {"text": f"{ZH_TITLE}\r\n{ZH_BODY}"}}


def test_lark_receives_a_text(services, told):
    told(LARK)
    assert [d.error for d in send()] == [""]
    (request,) = services.to("open.larksuite.com")
    assert request.path == "/open-apis/bot/v2/hook/0123abcd-lark-token"
    assert request.body["msg_type"] == "text"
    assert TITLE in request.body["content"]["text"]
    assert BODY in request.body["content"]["text"]


def test_dingtalk_receives_a_signed_text(services, told, chinese):
    """Apprise 2.3.0 encodes the signature twice: DingTalk would refuse every message."""
    told(DINGTALK)
    assert [d.error for d in send()] == [""]
    (request,) = services.to("oapi.dingtalk.com")
    assert request.path == "/robot/send"
    assert request.query["access_token"] == "0123abcddingtalktoken"
    assert request.body == {
        "msgtype": "text",
        "text": {"content": f"{ZH_TITLE}\n{ZH_BODY}"},
        "at": {"atMobiles": [], "isAtAll": False},
    }


def test_wecom_receives_a_text(services, told, chinese):
    told(WECOM)
    assert [d.error for d in send()] == [""]
    (request,) = services.to("qyapi.weixin.qq.com")
    assert (request.path, request.query) == ("/cgi-bin/webhook/send", {"key": "wecom-key"})
    assert request.body["msgtype"] == "text"
    assert ZH_TITLE in request.body["text"]["content"]
    assert ZH_BODY in request.body["text"]["content"]


def test_slack_receives_an_attachment(services, told):
    told(SLACK)
    assert [d.error for d in send()] == [""]
    (request,) = services.to("hooks.slack.com")
    assert request.path == "/services/T0123ABCD/B0123ABCD/0123456789abcdef01234567"
    (attachment,) = request.body["attachments"]
    assert (attachment["title"], attachment["text"]) == (TITLE, BODY)


def test_a_webhook_receives_json(webhook, told):
    told(f"json://127.0.0.1:{webhook.port}/hooks/night")
    assert [d.error for d in send()] == [""]
    (request,) = webhook.received
    assert request.path == "/hooks/night"
    assert request.body == {
        "version": "1.0",
        "title": TITLE,
        "message": BODY,
        "attachments": [],
        "type": "failure",
    }


class Inbox:
    """Keeps the mails of an SMTP server."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], email.message.Message]] = []

    async def handle_DATA(self, server, session, envelope) -> str:
        self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 OK"


def test_a_mail_server_receives_a_mail(told, chinese):
    inbox, port = Inbox(), free_port()
    server = Controller(inbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        told(f"mailto://127.0.0.1:{port}?from=night@example.com&to=team@example.com&mode=insecure")
        assert [d.error for d in send()] == [""]
    finally:
        server.stop()
    ((to, mail),) = inbox.mails
    assert to == ["team@example.com"]
    assert str(make_header(decode_header(mail["Subject"]))) == ZH_TITLE
    text = next(part for part in mail.walk() if part.get_content_type() == "text/plain")
    assert ZH_BODY in text.get_payload(decode=True).decode().replace("\r\n", "\n")


def test_one_that_refuses_does_not_keep_the_others_from_getting_it(services, webhook, told):
    told("wecombot://another-key", f"json://127.0.0.1:{webhook.port}", FEISHU)
    refused, *arrived = send()
    assert "errcode=93000 invalid webhook url" in refused.error
    assert [d.error for d in arrived] == ["", ""]
    assert len(webhook.received) == 1


def test_a_refused_signature_is_not_taken_for_a_delivery(services, told):
    """DingTalk answers with HTTP 200; Apprise 2.3.0 takes that for success."""
    told("dingtalk://SECanother0123456789@0123abcddingtalktoken")
    (refused,) = send()
    assert "errcode=310000 sign not match" in refused.error


def test_an_entry_gets_the_events_that_it_is_tagged_with(webhook, told):
    told(
        {"path": f"json://127.0.0.1:{webhook.port}/failures", "tag": "failure, overrun"},
        {"path": f"json://127.0.0.1:{webhook.port}/good-news", "tag": ["promoted"]},
        {"path": f"json://127.0.0.1:{webhook.port}/all"},
    )
    send()
    assert sorted(request.path for request in webhook.received) == ["/all", "/failures"]


def test_a_tag_that_names_no_event_is_told(webhook, told, caplog):
    told({"path": f"json://127.0.0.1:{webhook.port}", "tag": "fialure"})
    assert send() == []
    assert "no event is called fialure; expected failure, held_back" in caplog.text


@pytest.mark.parametrize("status", [500, 429])
def test_a_failing_server_is_tried_again(webhook, told, status):
    webhook.statuses = [status, status]
    told(f"json://127.0.0.1:{webhook.port}")
    (arrived,) = send()
    assert (arrived.error, arrived.tries) == ("", 3)
    assert len(webhook.received) == 3


def test_a_server_that_keeps_failing_is_given_up(webhook, told):
    webhook.statuses = [500] * 9
    told(f"json://127.0.0.1:{webhook.port}")
    (lost,) = send()
    assert len(webhook.received) == lost.tries == 1 + delivery.RETRIES
    assert "500" in lost.error


def test_a_server_that_is_down_is_given_up(told):
    told(f"json://127.0.0.1:{free_port()}")
    (lost,) = send()
    assert lost.tries == 1 + delivery.RETRIES
    assert "onnection" in lost.error


def test_a_server_that_does_not_answer_is_given_up_in_time(webhook, told, monkeypatch):
    monkeypatch.setattr(delivery, "TIME_LIMIT", 1.0)
    webhook.pause = 3.0
    told(f"json://127.0.0.1:{webhook.port}?rto=10")
    (lost,) = send()
    assert lost.error


def test_a_url_that_apprise_cannot_read_is_told_without_its_token(webhook, told, logged):
    told("slakc://T0123ABCD/B0123ABCD/0123456789abcdef01234567", f"json://127.0.0.1:{webhook.port}")
    unreadable, arrived = send()
    assert "Apprise cannot read a URL like this slakc://" in unreadable.error
    assert arrived.error == ""
    assert "0123456789abcdef01234567" not in "\n".join([*logged, str(unreadable)])


@pytest.mark.parametrize(
    "url", [FEISHU, LARK, DINGTALK.replace("SEC", "SECx"), "wecombot://another-key", SLACK]
)
def test_no_token_is_in_what_is_said_of_a_failure(services, told, logged, url):
    services.statuses = [500] * 4
    told(url)
    (lost,) = send()
    assert lost.error
    for secret in ("feishu-token", "lark-token", "dingtalktoken", "another-key", "0123456789abcdef"):
        assert secret not in "\n".join([*logged, str(lost)])
