"""Alerts: who is told when a run fails, is held back, is promoted, overruns or needs a person.

event       what is told, and of which run            message   the text, in English or Chinese
settings    the Connection `sqltune_alerts`            services  DingTalk and WeCom, whose answers are checked
delivery    sends through Apprise, and says what arrived
notifier    what Airflow calls: on failure, on success, past a deadline, before a person is asked
facts       what the notifiers look up

An alert that cannot be delivered is logged, and fails nothing.
"""
