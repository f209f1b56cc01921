"""Memory of large freed tensors is kept, not given back to the system and asked for again at the next step."""

import ctypes
import sys

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


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
