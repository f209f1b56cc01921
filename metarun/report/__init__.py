from metarun.report.page import Table, render
from metarun.report.settings import SizeMap

__all__ = ["SizeMap", "Table", "render"]
