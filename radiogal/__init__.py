__version__ = "0.1.0"

_FRONT = dict(  # What `radiogal.NAME` is: its module, and its name there
    classify=("answers", "classify_anything"), explore=("browser", "explore"), finetune=("learning", "finetune"),
    GalaxyClassifier=("similarity", "GalaxyClassifier"), read_features=("similarity", "read_features"),
    similar_to=("similarity", "similar_to"), suggest_labels=("similarity", "suggest_labels"))

def __getattr__(name: str):
    "The functions that most users need, loaded when they are first asked for: importing the package does no work."
    if name not in _FRONT: raise AttributeError(f"module 'radiogal' has no attribute {name!r}")
    from importlib import import_module
    if name == "explore":
        from .provenance import need_extra
        need_extra("anywidget", "notebooks")
    module, inner = _FRONT[name]
    return getattr(import_module(f"radiogal.{module}"), inner)
