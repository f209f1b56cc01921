"""What metarun knows of memory: how much there is, how to keep what was freed, how an error says that none is left."""

import ctypes
import os
import sys

import torch

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

# What torch says on a CPU: its allocator on Linux and elsewhere, and the C++ library below it.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "std::bad_alloc")


def keep_freed_memory() -> None:
    """Tell glibc's allocator to keep what is freed; elsewhere do nothing.

    By default every tensor above 32 MB is mapped and unmapped anew, and each of its pages is zeroed by the kernel at
    first touch: a good part of a meta-gradient's time on a CPU.
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


def installed() -> int:
    """Return how many bytes of memory this computer has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that the memory, the device's or the computer's, does not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
