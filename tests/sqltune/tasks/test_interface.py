"""The functions that the DAG files name stand for those that do the work."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

import pytest

from sqltune.tasks import interface

FUNCTIONS = dict(inspect.getmembers(interface, inspect.isfunction))


def module_behind(name: str):
    """The module that a function of the interface imports when it is called."""
    source = inspect.getsource(FUNCTIONS[name])
    return import_module(f"sqltune.tasks.{re.search('import (.+) as module', source)[1]}")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_documentation_is_the_first_line_of_the_function_behind(name):
    assert FUNCTIONS[name].__doc__ == getattr(module_behind(name), name).__doc__.splitlines()[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_and_defaults_are_those_of_the_function_behind(name):
    shown, behind = (
        [(p.name, p.default) for p in inspect.signature(function).parameters.values()]
        for function in (FUNCTIONS[name], getattr(module_behind(name), name))
    )
    assert shown == behind


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_result_are_handed_on(name, monkeypatch):
    arguments = {parameter: object() for parameter in inspect.signature(FUNCTIONS[name]).parameters}
    called = []
    behind = getattr(module_behind(name), name)

    def work(*args, **kwargs):
        called.append(inspect.signature(behind).bind(*args, **kwargs).arguments)
        return called

    monkeypatch.setattr(module_behind(name), name, work)
    result = FUNCTIONS[name](**arguments)
    assert called == [arguments]
    assert name == "stop_serving" or result is called
