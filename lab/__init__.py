"""The lab: SSH hosts on this machine, a dataset hub, a base model and Airflow; no GPU is needed."""
