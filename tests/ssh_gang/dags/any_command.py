"""Run any command on several hosts at once: all start or none, and the first failure stops all of them."""

from airflow.sdk import DAG

from ssh_gang.operator import GangOperator

with DAG("any_command", schedule=None) as dag:
    GangOperator(
        task_id="hello",
        hosts=["gpu_host_a", "gpu_host_b"],  # Airflow Connections of type ssh
        command=["bash", "-c", "echo node $GANG_NODE_RANK of $GANG_NNODES says $GREETING"],
        env={"GREETING": "hello"},
    )
