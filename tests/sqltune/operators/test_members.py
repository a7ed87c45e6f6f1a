"""What runs on each host of a plan's cluster."""

from __future__ import annotations

import pytest

from sqltune.operators.members import member, rank_members
from tests.plans import run_plan


@pytest.fixture
def plan():
    return run_plan(recipe_file="codellama_7b_qlora", cluster_file="gpu_2x4")


def test_every_number_of_torchrun_is_on_its_command_line(plan):
    """A default of torchrun's, such as one host, would train alone and succeed."""
    first, second = rank_members(plan, "10.0.0.1", ["train.py", "--x"], "~/w")
    assert first.argv == [
        "torchrun",
        "--nnodes=2",
        "--node_rank=0",
        "--nproc_per_node=4",
        "--master_addr=10.0.0.1",
        "--master_port=12345",
        "train.py",
        "--x",
    ]
    assert second.argv[2] == "--node_rank=1"


def test_only_the_master_needs_the_rendezvous_port(plan):
    assert [m.required_port for m in rank_members(plan, "10.0.0.1", ["x"], "~/w")] == [12345, None]


def test_a_host_has_as_many_ranks_as_processes(plan):
    assert [m.ranks for m in rank_members(plan, "10.0.0.1", ["x"], "~/w")] == [4, 4]


def test_hosts_with_different_numbers_of_processes_are_refused(plan):
    one, two = plan.cluster.hosts
    hosts = [one, two.model_copy(update={"processes": 2})]
    uneven = plan.model_copy(update={"cluster": plan.cluster.model_copy(update={"hosts": hosts})})
    with pytest.raises(ValueError, match=r"cluster.hosts: processes are \[2, 4\], .*same number"):
        rank_members(uneven, "10.0.0.1", ["x"], "~/w")


def test_a_member_runs_in_the_node_environment_with_the_chains_scripts(plan):
    m = member(plan, plan.cluster.master, ["python", "x.py"], "~/w")
    assert m.path_prefix == "/code/node-env/bin"
    assert m.env["PYTHONPATH"] == "/code/code/code1"


def test_a_member_has_the_clusters_variables(plan):
    m = member(plan, plan.cluster.master, ["python", "x.py"], "~/w")
    assert m.env["NCCL_IB_HCA"] == "mlx5"
    assert m.env["PYTHONUNBUFFERED"] == "1"
