"""python fastchat_api_compat.py [--api-key-file FILE] <arguments of fastchat.serve.openai_api_server>.

Works around two faults of fschat 0.2.36:

- Streaming calls `chunk.json(exclude_unset=True, ensure_ascii=False)`, and pydantic 2 refuses that keyword.
- The API key is an argument, which every user of the host could read in the process list.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pydantic


def _json(self: pydantic.BaseModel, *, ensure_ascii: bool | None = None, **options: Any) -> str:
    return self.model_dump_json(**options)


pydantic.BaseModel.json = _json  # type: ignore[method-assign]  # the deprecated method of pydantic 1
if "--api-key-file" in sys.argv:
    at = sys.argv.index("--api-key-file")
    key = Path(sys.argv[at + 1]).read_text().strip()
    sys.argv[at : at + 2] = ["--api-keys", key] if key else []
runpy.run_module("fastchat.serve.openai_api_server", run_name="__main__", alter_sys=True)
