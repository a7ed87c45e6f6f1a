"""What is copied to the hosts."""

from __future__ import annotations

import io
import tarfile

from sqltune.node import bundle


def test_the_same_files_give_the_same_version_and_hold_what_the_scripts_import():
    version, content = bundle()
    assert bundle()[0] == version and len(version) == 12
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = set(tar.getnames())
    assert {
        "preflight.py",
        "serving.py",
        "xtuner_host_shim.py",
        "sqltune/dataset/split.py",
        "sqltune/prompt.py",
    } <= names
    assert not any("operators" in n or "hooks" in n for n in names)
