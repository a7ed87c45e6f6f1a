"""The lab: the embedded default. Two SSH hosts, a hub, a base model and Airflow's components on this machine."""
