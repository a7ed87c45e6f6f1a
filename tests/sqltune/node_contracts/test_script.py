"""How Airflow and a script on a host understand each other."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from sqltune.node import bundle
from sqltune.node_contracts.all_reduce import ALL_REDUCE, AllReduceResponse
from sqltune.node_contracts.checkpoints import (
    CHECKPOINTS,
    CheckpointsRequest,
    CheckpointsResponse,
    Seal,
    SealedCheckpoint,
)
from sqltune.node_contracts.dataset import FETCH_DATASET
from sqltune.node_contracts.export import EXPORT_MODEL, ExportRequest
from sqltune.node_contracts.preflight import PREFLIGHT
from sqltune.node_contracts.retention import RETENTION
from sqltune.node_contracts.script import BAD_REQUEST, NodeScript
from sqltune.node_contracts.serving import SERVING, ServingResponse
from tests.exported import EXPORTED

SCRIPTS = (
    ALL_REDUCE,
    CHECKPOINTS,
    EXPORT_MODEL,
    FETCH_DATASET,
    PREFLIGHT,
    RETENTION,
    SERVING,
)
WITHOUT_TORCH = tuple(s for s in SCRIPTS if s is not ALL_REDUCE)
"""Scripts that start without a package that only the hosts have."""


@pytest.fixture(scope="module")
def code_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is copied to a host, unpacked."""
    folder = tmp_path_factory.mktemp("code")
    with tarfile.open(fileobj=io.BytesIO(bundle()[1])) as tar:
        tar.extractall(folder, filter="data")
    return folder


def run(code_dir: Path, script: NodeScript, argument: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A script as on a host: it finds nothing but what was copied."""
    return subprocess.run(
        [sys.executable, code_dir / script.file, argument],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(code_dir), **env},
    )


@pytest.mark.parametrize("script", WITHOUT_TORCH, ids=lambda s: s.file)
def test_an_unknown_field_is_refused_on_the_host_and_named(code_dir, script):
    result = run(code_dir, script, '{"colour": "red"}')
    assert result.returncode == BAD_REQUEST, result.stderr
    assert f"{script.file} refused its request: " in result.stdout
    assert "colour: Extra inputs are not permitted" in result.stdout


def test_request_and_result_are_ascii_so_that_the_hosts_locale_does_not_matter(code_dir, tmp_path):
    """A host whose locale is GB2312 would garble text, or fail to print it."""
    folder = tmp_path / "训练"
    seal = folder / "try1" / "iter_2.pth" / "seal.0.json"
    seal.parent.mkdir(parents=True)
    content = Seal(step=2, total=4, fingerprint="f", world_size=1, files={"分片.pt": "ab"})
    seal.write_text(content.model_dump_json(), encoding="utf-8")
    *_, argument = CHECKPOINTS.argv("", CheckpointsRequest(action="list", folder=str(folder)))
    assert argument.isascii()
    result = run(code_dir, CHECKPOINTS, argument, PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert CHECKPOINTS.read(result.stdout).seals[0].files == {"分片.pt": "ab"}


@pytest.mark.parametrize("script", WITHOUT_TORCH, ids=lambda s: s.file)
def test_an_argument_that_is_no_json_is_refused(code_dir, script):
    result = run(code_dir, script, "up")
    assert result.returncode == BAD_REQUEST, result.stderr
    assert "argument: Invalid JSON" in result.stdout


def test_a_response_travels_from_the_host_to_airflow(code_dir, tmp_path):
    request = CHECKPOINTS.request(action="list", folder=str(tmp_path))
    result = run(code_dir, CHECKPOINTS, CHECKPOINTS.argv("/code", request)[-1])
    assert CHECKPOINTS.read(result.stdout) == CheckpointsResponse()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.file)
def test_every_script_is_among_the_copied_files(code_dir, script):
    assert (code_dir / script.file).is_file()


def test_a_request_is_the_only_argument():
    request = ExportRequest(
        config="c.py",
        checkpoint="iter_2.pth",
        world_size=2,
        base_model="~/base",
        adapter="~/adapter",
        merged="~/merged",
    )
    program, file, argument = EXPORT_MODEL.argv("~/code/abc", request)
    assert (program, file) == ("python", "~/code/abc/export_model.py")
    assert ExportRequest.model_validate_json(argument) == request


def test_the_last_result_counts():
    older = EXPORTED.model_copy(update={"layers": 1})
    output = f"loading\nRESULT {older.model_dump_json()}\nRESULT {EXPORTED.model_dump_json()}\ndone\n"
    assert EXPORT_MODEL.read(output) == EXPORTED


def test_an_output_without_a_result_is_refused():
    with pytest.raises(
        ValueError,
        match=r"export_model.py ended with 0 and printed no result",
    ):
        EXPORT_MODEL.read("loading\nkilled")


def test_an_unknown_field_of_a_response_is_refused_and_named():
    result = json.dumps(EXPORTED.model_dump() | {"colour": "red"})
    with pytest.raises(ValueError, match="export_model.py answered with an invalid result: colour: Extra"):
        EXPORT_MODEL.parse(result)


def test_a_missing_field_of_a_response_is_named():
    with pytest.raises(ValueError, match="layers: Field required"):
        EXPORT_MODEL.parse('{"adapter_path": "/a", "checkpoint_hash": "h"}')


def test_values_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        EXPORTED.layers = 2


@pytest.mark.parametrize(
    ("script", "response"),
    [
        (EXPORT_MODEL, EXPORTED),
        (
            SERVING,
            ServingResponse(serving={"text2sql": "/m"}, running=True, api="http://a/v1", replaced=["w"]),
        ),
        (
            CHECKPOINTS,
            CheckpointsResponse(
                seals=[
                    SealedCheckpoint(
                        attempt="try1", step=2, total=4, fingerprint="f", world_size=2, files={"a.pt": "0"}
                    )
                ]
            ),
        ),
        (ALL_REDUCE, AllReduceResponse(backend="gloo", world_size=2, mebibytes=16, seconds=0.5)),
    ],
    ids=lambda value: getattr(value, "file", ""),
)
def test_a_response_survives_the_round_trip(script, response):
    assert script.read(f"RESULT {response.model_dump_json()}") == response


def test_an_all_reduce_reads_as_one_line():
    measured = AllReduceResponse(backend="gloo", world_size=2, mebibytes=16, seconds=0.5)
    assert str(measured) == "all-reduce of 16 MiB over 2 ranks with gloo: 500 ms, 0.03 GiB/s"
