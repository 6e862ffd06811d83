"""Self-contained HTML pages and charts: model report, perception page, study browser, label chart."""
