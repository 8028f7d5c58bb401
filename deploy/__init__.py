"""What runs Konsul for others: compose, systemd, Prometheus, Grafana, and two programs."""
