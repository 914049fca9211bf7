from typing import List, Union


class Shape:
    pass


Sides = Union[int, List[int]]
