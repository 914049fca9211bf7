from device_connect_edge.drivers.decorators import emit, rpc


class Docstrings:
    """Not a function's."""

    def __init__(self, device=None):
        pass

    @rpc()
    async def nothing(self, a: int):
        return a

    @rpc()
    async def one_line(self, a: int):
        """  Adds one.  """
        return a + 1

    @rpc()
    async def starts_below(self, a: int):
        """
        Starts on the second line,
        and goes on.

        Args:
            a: The number
        """
        return a

    @rpc()
    async def empty(self, a: int):
        """   """
        return a

    @rpc()
    async def google(self, first: str, second: int = 2, third: bool = False) -> dict:
        """Says it all.

        More of it, with args: in the middle.

        Args:
            first: The first one
            second (int): The second one,
                which takes two lines
                and a third: with a colon
            third (bool, optional): The third one: it has a colon
            unknown: Not a parameter

        Returns:
            first: not this one
        """
        return {"first": first, "second": second, "third": third}

    @rpc()
    async def ends_at_raises(self, a: int, b: int = 0):
        """Ends.

        ARGS: this line is ignored
            a: Known
        Raises:
            b: Not known
        """
        return a

    @rpc()
    async def ends_at_example(self, a: int, b: int = 0):
        """Ends.

        Args:
            a: Known

            after an empty line
        Example: this
            b: Not known
        """
        return a

    @rpc()
    async def note_within(self, a: int, b: int = 0):
        """Ends.

        Args:
            a: Known
            note: this ends it
            b: Not known
        """
        return a

    @rpc()
    async def yields_does_not_end(self, a: int, **params):
        """Goes on.

        Args:
            a: Known
            **params: glued to the one before
            *rest: this too

        Yields:
            nothing: at all
        """
        return a

    @rpc()
    async def twice(self, a: int):
        """Twice.

        Args:
            a: First
            a: Second

        Args:
            a: Third
        """
        return a

    @rpc()
    async def no_text(self, a: int, b: int = 0):
        """No text.

        Args:
            a:
            b: There
            c  : no
        """
        return a

    @rpc()
    async def numpy_style(self, a: int):
        """Of another style.

        Parameters
        ----------
        a : int
            The number
        """
        return a

    @rpc()
    async def sphinx_style(self, a: int):
        """Of another style.

        :param a: The number
        """
        return a

    @rpc(description="Said elsewhere")
    async def overridden(self, a: int):
        """Not this.

        Args:
            a: But this
        """
        return a

    @rpc(description="")
    async def overridden_by_nothing(self, a: int):
        """Then this."""
        return a

    @rpc()
    async def letters(self, größe: float = 1.0):
        """Prüft »Größen« – 温度.

        Args:
            größe: Die Größe in m²
        """
        return größe

    @rpc()
    async def badly_indented(self, a: int, b: int = 0):
        """Badly indented.

    Args:
                a: Known
      b: Known too
        """
        return a

    @rpc()
    async def not_a_string(self, a: int):
        f"""Computed {1}."""
        return a

    @rpc()
    async def raw(self, a: int):
        r"""Raw \n text.

        Args:
            a: A \d+
        """
        return a

    @emit()
    async def happened(self, what: str, times: int = 1):
        """It happened.

        Args:
            what: What it was
        """
