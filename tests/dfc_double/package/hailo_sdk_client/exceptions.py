"""The exceptions of the DFC, by their own names; each says that it is from the module where the vendor has it.

So the last line of a traceback reads as the real one does.
"""

from __future__ import annotations

__all__ = ["BY_NAME", "make"]

_TRANSLATOR = "hailo_sdk_client.model_translator.exceptions"
_BACKEND = "hailo_sdk_client.sdk_backend.sdk_backend_exceptions"
_SCRIPT = "hailo_sdk_client.sdk_backend.script_parser.script_parser_exceptions"
_NN = "hailo_sdk_common.hailo_nn.exceptions"
_STATES = "hailo_sdk_common.states.states"
_OPTIMIZATION = "hailo_model_optimization.acceleras.utils.acceleras_exceptions"
_TENSORFLOW = "tensorflow.python.framework.errors_impl"

_HOMES = {
    "InvalidArgumentsException": "hailo_sdk_client.runner.exceptions",
    "LicenseException": "hailo_sdk_client.runner.exceptions",
    "InvalidStateException": _STATES,
    "HailoNNException": _NN,
    "UnsupportedModelError": _NN,
    "MisspellNodeError": _TRANSLATOR,
    "ParsingWithRecommendationException": _TRANSLATOR,
    "UnsupportedOperationError": _TRANSLATOR,
    "UnsupportedShuffleLayerError": _TRANSLATOR,
    "AllocatorScriptParserException": _SCRIPT,
    "BackendAllocatorException": _BACKEND,
    "BackendRuntimeException": _BACKEND,
    "AccelerasUnsupportedError": _OPTIMIZATION,
    "AccelerasValueError": _OPTIMIZATION,
    "BadInputsShape": _OPTIMIZATION,
    "NegativeSlopeExponentNonFixable": _OPTIMIZATION,
    "ResourceExhaustedError": _TENSORFLOW,
}
BY_NAME: dict[str, type[Exception]] = {
    name: type(name, (Exception,), {"__module__": home}) for name, home in _HOMES.items()
}


def make(name: str, message: str) -> Exception:
    """Return an exception of the vendor's, or of Python's, by its name."""
    if name in BY_NAME:
        return BY_NAME[name](message)
    kinds: dict[str, type[Exception]] = {
        "AssertionError": AssertionError,
        "FileNotFoundError": FileNotFoundError,
        "ImportError": ImportError,
        "MemoryError": MemoryError,
        "RuntimeError": RuntimeError,
        "TypeError": TypeError,
        "ValueError": ValueError,
    }
    return kinds[name](message)
