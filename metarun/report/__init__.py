from metarun.report.page import Table, render

__all__ = ["Table", "render"]
