"""The model servers of a host: FastChat's controller, workers and OpenAI-style API, run by supervisor.

    worker           a model worker's file: what it serves, and the names it answers to
    configuration    supervisor's configuration, as text
    supervisor       supervisor itself: start it, apply its configuration
    processes        orphans of a killed supervisor
    ports            TCP ports of this host
    stack            up, down and status
    switch           another model under a name that is served, without a failed request

A model is up when it has answered a prompt, not when it has registered. The files of the workers hold the
names that each worker answers to; `registrar.py` keeps the controller up to date with them. So a name can
move from one running worker to another.
"""
