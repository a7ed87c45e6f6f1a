"""One job on several hosts over SSH, as an Airflow operator, trigger and hook; see docs/gang.md."""
