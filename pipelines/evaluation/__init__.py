"""Parts of an evaluation: predictions with their references, what the page shows of them, and the champion beside."""
