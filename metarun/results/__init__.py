"""The files of runs: records, their schema and checksums, provenance, statistics.

`metarun.results("results")` is `metarun.load_results`.
"""

from metarun.system.callable_package import make_callable

make_callable(__name__)
