"""Storage: one way to local folders and S3, with retries."""
