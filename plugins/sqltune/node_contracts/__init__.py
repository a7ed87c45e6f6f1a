"""What Airflow and the scripts on the hosts (`include/node`) tell each other; both sides import this package.

It is copied to the hosts, so it imports pydantic and the standard library only.
"""
