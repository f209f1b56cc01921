from metarun.reporting.html.page import Table, render
from metarun.reporting.html.sections import SizeMap

__all__ = ["SizeMap", "Table", "render"]
