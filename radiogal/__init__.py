__version__ = "0.1.0"


def __getattr__(name: str):
    "`radiogal.explore`, imported when it is asked for: this module stays light."
    if name != "explore": raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .provenance import need_extra
    need_extra("anywidget", "notebooks")
    from .browser import explore
    return explore
