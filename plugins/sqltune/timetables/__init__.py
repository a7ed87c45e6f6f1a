"""When the DAGs run."""
