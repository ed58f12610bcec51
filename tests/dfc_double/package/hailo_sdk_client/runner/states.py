"""In which states a method may be called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..exceptions import make
from ..exposed_definitions import States

__all__ = ["FLOAT", "PARSED", "QUANTIZED", "allowed_states"]

PARSED = (States.HAILO_MODEL, States.FP_OPTIMIZED_MODEL, States.QUANTIZED_MODEL, States.COMPILED_MODEL)
QUANTIZED = (States.QUANTIZED_MODEL, States.COMPILED_MODEL)
FLOAT = (States.HAILO_MODEL, States.FP_OPTIMIZED_MODEL)

Method = TypeVar("Method", bound="Callable[..., Any]")


def allowed_states(*states: States) -> Callable[[Method], Method]:
    """Refuse a method, with `InvalidStateException`, in any other state of its runner."""

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def guarded(self: Any, *arguments: Any, **keywords: Any) -> Any:
            if self.state not in states:
                raise make(
                    "InvalidStateException",
                    f"The execution of {method.__name__} is not available under the state: {self.state.value}",
                )
            return method(self, *arguments, **keywords)

        return cast(Method, guarded)

    return decorate
