"""Ray Data: the connection to Ray, reading table versions, and writing new ones."""
