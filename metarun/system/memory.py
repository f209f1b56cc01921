"""Memory: how much there is, keeping freed memory, and recognising out-of-memory errors."""

import ctypes
import os
import sys

import torch

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

# Messages on a CPU: torch's allocator on Linux and elsewhere, and the C++ library.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "std::bad_alloc")


def keep_freed_memory() -> None:
    """Make glibc keep freed memory; do nothing on other platforms.

    By default every tensor above 32 MB is mapped and unmapped each time, and the kernel zeroes each page at first
    touch, which takes a good part of a meta-gradient's time on a CPU.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 * 2**20)


def total_memory() -> int:
    """Return the bytes of memory of this computer."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def fits_on(device: torch.device, size: int) -> bool:
    """Whether so many bytes are at most half of what is free on a GPU, which needs the rest; true of other devices."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size <= free // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the computer is out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
