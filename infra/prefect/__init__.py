"""Prefect: deployments, the job template of a cluster, and automations."""
