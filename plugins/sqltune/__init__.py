"""Fine-tune, evaluate and serve text-to-SQL models with Airflow, on hosts that are reached over SSH."""
