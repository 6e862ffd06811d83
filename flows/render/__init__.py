"""What the command line and the Prefect UI show: plain values, terminal tables, charts."""
