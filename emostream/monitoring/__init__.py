"""What an operator sees: Prometheus' configuration, the alerts, and the page of graphs. Most of it is data."""
