"""A double of the vendor's compiler: a package `hailo_sdk_client` that keeps its documented contract, for tests.

=======================  ================================================================================
`environment.py`         makes an environment of its own with the double in it (`make_environment`)
`package/`               the package that is installed there; Python 3.8 to 3.12, numpy and nothing else
`helper.py`              what works for it: our emulator, in a process of its own with this environment's Python
`README.md`              how it is told what to do, and what it cannot show
=======================  ================================================================================

What it makes runs on no device and says so: its SDK version ends with `-double-emulated`. Its limits, of which
`README.md` tells more:

* its numbers are the emulator's: accuracy, ranges, what an algorithm improves;
* its allocation is none: contexts, utilization, frames per second follow from the sizes of layers by a rule of its own;
* log lines and exceptions are those that public threads quote, an error text that is quoted nowhere is its own;
* whether a level that a script says is lowered without a GPU, public logs do not agree on: it can do both;
* which ONNX nodes become one layer, and so the numbers in layers' names, is the emulator's reading of a graph;
* networks have one input; no command line, no TensorFlow, no NMS, no conversion of colours, no device.
"""
