"""Errors named by what the caller should do; messages carry ids and paths, never report text."""


class TrrgError(Exception):
    """Base of every error that TRRG raises on purpose."""


class ConfigError(TrrgError):
    """Fix the configuration file or option; running again unchanged will fail again."""


class DataError(TrrgError):
    """Reject the row with `reason` (a short snake_case code) and go on with the others."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["DataError"], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class StorageError(TrrgError):
    """Try again: the store was busy, unreachable, or another writer committed first."""


class TrainingError(TrrgError):
    """Stop the run: going on would train or promote something wrong."""
