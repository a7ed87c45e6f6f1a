"""vLLM behind the interface of FastChat's model worker; `vllm_worker.py` is the program.

    environment   where vLLM is installed, in which version
    models        a model's weights against its configuration, before anything is started
    command       the command line and the environment of vLLM's server
    process       vLLM's server as a child that does not outlive the worker
    guard         the process between them, which makes sure of that
    completions   FastChat's parameters as vLLM's, and vLLM's answers as FastChat's
    client        requests to vLLM

Why not FastChat's own `vllm_worker`: it calls an interface of vLLM that is gone (`use_beam_search`). vLLM
also needs other versions of torch and transformers than the training, so that it has an environment of its
own, and its OpenAI-style server is the interface that it keeps.

vLLM listens on a Unix socket in a private folder: it has no API key, and any user of the host could use a TCP
port.
"""
