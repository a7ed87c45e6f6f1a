"""The model servers of a host, run by supervisor: FastChat's controller, workers and API, and the front door.

    worker           a model worker's file: what it serves, and the names it answers to
    configuration    supervisor's configuration, as text
    adapters         an adapter and its base model, before anything is started
    supervisor       supervisor itself: start it, apply its configuration
    processes        orphans of a killed supervisor
    ports            TCP ports of this host
    stack            up, down and status
    trial            a candidate beside the served model, which the front door tries
    switch           another model under a name that is served, without a failed request

A model is up when it has answered a prompt, not when it has registered. The files of the workers hold the
names that each worker answers to, and the front door looks there for each request: so a name moves from one
running worker to another by writing a file. `registrar.py` tells FastChat's controller of the workers.

The workers of one base model that are served unmerged share a process and its port. It finds its adapters in
their files, too (`served_adapters`), so that no call loads or removes one.
"""
