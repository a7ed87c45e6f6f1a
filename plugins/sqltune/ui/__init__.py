"""The page: a read-only API over the records, and the built app that shows it in Airflow."""
