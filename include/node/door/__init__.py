"""The front door of a host's served models: the only server at the public address.

    settings     keys, limits and what is logged, from `door.json`
    names        which worker answers to a served name, from the workers' files
    errors       refusals, in the shape of OpenAI's API
    access       who asks, and how much at once
    upstream     FastChat's API on its Unix socket
    trial        a candidate that answers copies of requests, or a share of them
    tally        the trial of this moment, and the count of what its models do
    trial_files  what is tried, and what was counted
    relay        a response passed on as it comes, under the name that was asked for
    record       one request: its line of the log, and the metrics
    app          the application

`front_door.py` runs it. A copy of both lies beside the servers, so it imports nothing of this repository, and
reads the files of other versions: unknown fields are left aside.
"""
