import threading

import pytest

from metarun.tasks.prefetch import ReadAhead


def test_the_next_range_is_read_in_another_thread():
    read, first_thread = [], threading.get_ident()

    def pair(first, count):
        read.append(((first, count), threading.get_ident() == first_thread))
        return first, count

    ahead = ReadAhead(pair)
    assert ahead(0, 4) == (0, 4)
    assert ahead(4, 4) == (4, 4)
    assert ahead(8, 4) == (8, 4)
    assert read[:3] == [((0, 4), True), ((4, 4), False), ((8, 4), False)]


def test_other_ranges_are_read_on_request():
    ahead = ReadAhead(lambda first, count: (first, count))
    asked = [(0, 4), (0, 4), (4, 1), (100, 2), (102, 3), (0, 1), (1, 1)]
    assert [ahead(*numbers) for numbers in asked] == asked


def test_read_errors_are_raised_on_request():
    def fail_later(first, count):
        if first:
            raise OSError("the disk is gone")
        return first

    ahead = ReadAhead(fail_later)
    ahead(0, 4)
    with pytest.raises(OSError, match="the disk is gone"):
        ahead(4, 4)
