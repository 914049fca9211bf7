from . import shapes

NAME = __name__
__all__ = ["NAME", "shapes"]
