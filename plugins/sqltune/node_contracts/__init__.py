"""Requests and responses of the scripts on the hosts (`include/node`); Airflow and the scripts import them.

It is copied to the hosts, so it imports pydantic and the standard library only.
"""
