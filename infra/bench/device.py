"""The device that a bench runs on: its name, its peak, and when its work is done."""

from collections.abc import Callable

import torch

# dense bf16 peak in FLOP/s by the start of the device name; data sheets of NVIDIA
_PEAKS = {"NVIDIA H100": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}


def device_name(device: str) -> str:
    """The GPU's name, or the number of CPU threads."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def peak_flops(name: str) -> float | None:
    """The peak of dense bf16 matrix products of a device in FLOP/s, None where it is not known."""
    return next((flops for start, flops in _PEAKS.items() if name.startswith(start)), None)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def print_profile(step: Callable[[], object]) -> None:
    """Prints where the time of a step goes, by kernel."""
    with torch.profiler.profile() as profile:
        step()
    order = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    print(profile.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=80))
