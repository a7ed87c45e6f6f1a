"""How a script on a host is called: one JSON argument, log lines, and one line with the result.

python <code_dir>/<script>.py '{"field": …}'
any output                          goes to the task's log
RESULT {"field": …}                 the response, the last line of a script that succeeded
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

MARKER = "RESULT "
BAD_DATA = os.EX_DATAERR
"""Exit status of a script that found a fault in the data: a retry would end the same way."""
BAD_REQUEST = os.EX_USAGE
"""Exit status of a script that refused its argument."""


class NodeModel(BaseModel):
    """Base of requests and responses: values do not change, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


RequestT = TypeVar("RequestT", bound=NodeModel)
ResponseT = TypeVar("ResponseT", bound=NodeModel)


@dataclass(frozen=True)
class NodeScript(Generic[RequestT, ResponseT]):
    """A script of `include/node`, with the models of its request and its response.

    Attributes:
        file: Name of the script in the code folder of a host.
        request: Model of the script's only argument.
        response: Model of the text after RESULT.
    """

    file: str
    request: type[RequestT]
    response: type[ResponseT]

    def argv(self, code_dir: str, request: RequestT) -> list[str]:
        """The command that runs the script on a host."""
        return ["python", f"{code_dir}/{self.file}", _json(request)]

    def main(self, handle: Callable[[RequestT], ResponseT | None]) -> None:
        """Run on the host: validate the argument, handle it, print the result unless it is None.

        Exits with `BAD_REQUEST` and the fields at fault when the argument is not a valid request.
        """
        try:
            request = self.request.model_validate_json("".join(sys.argv[1:2]))
        except ValidationError as e:
            print(f"{self.file} refused its request: {_fields(e)}", flush=True)
            sys.exit(BAD_REQUEST)
        response = handle(request)
        if response is not None:
            print(MARKER + _json(response), flush=True)

    def parse(self, result: str) -> ResponseT:
        """Validate the text after RESULT.

        Raises:
            ValueError: It is not a valid response; the message names the fields at fault.
        """
        try:
            return self.response.model_validate_json(result)
        except ValidationError as e:
            raise ValueError(f"{self.file} answered with an invalid result: {_fields(e)}") from e

    def read(self, output: str) -> ResponseT:
        """Find and validate the response in everything that the script printed.

        Raises:
            ValueError: The output has no RESULT line, or an invalid one.
        """
        results = [text for line in output.splitlines() if (text := result_in(line)) is not None]
        if not results:
            raise ValueError(f"{self.file} ended with 0 and printed no result")
        return self.parse(results[-1])


def result_in(line: str) -> str | None:
    """The JSON text of a RESULT line; None for any other line."""
    return line.removeprefix(MARKER) if line.startswith(MARKER) else None


def _json(model: NodeModel) -> str:
    """In ASCII: a host's locale may not be UTF-8."""
    return json.dumps(model.model_dump(mode="json"), separators=(",", ":"))


def _fields(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'argument'}: {e['msg']}" for e in error.errors(include_url=False)
    )
