"""Python functions that the compiled loop of an engine calls."""

import ctypes
from collections.abc import Callable

from spikesim.kernels.engine import Call

OPERATION = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)


class Calls:
    """What compiled code calls, and the error that it cannot hand on."""

    def __init__(self) -> None:
        self._failed: list[BaseException] = []

    def operation(self, call: Call) -> tuple[int, Callable[..., None]]:
        """The address of an operation, and what must be kept meanwhile."""

        def work(_: int, begin: int, steps: int, __: int) -> None:
            try:
                if not self._failed:
                    call.function(begin, steps)
            except BaseException as error:
                self._failed.append(error)

        function = OPERATION(work)
        address = ctypes.cast(function, ctypes.c_void_p).value
        assert address is not None
        return address, function

    def check(self) -> None:
        """Raise what a call raised; calls after it were left out."""
        if self._failed:
            raise self._failed.pop()
