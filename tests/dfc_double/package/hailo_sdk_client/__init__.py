"""A double of Hailo's Dataflow Compiler, for tests: it keeps the documented contract and makes nothing for a device.

Whatever it makes has an SDK version that ends with `-double-emulated`.
"""

from __future__ import annotations

from .behaviour import read_behaviour as _read_behaviour
from .exposed_definitions import CalibrationDataType, InferenceContext, InferenceDataType, States
from .runner.client_runner import ClientRunner

__all__ = ["CalibrationDataType", "ClientRunner", "InferenceContext", "InferenceDataType", "States", "__version__"]

__version__ = str(_read_behaviour().get("version"))

_read_behaviour().reach("import")
