"""Self-contained HTML pages and charts: model report, study browser, label chart."""
