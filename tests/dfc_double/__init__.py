"""A double of the vendor's compiler: a package `hailo_sdk_client` that keeps its documented contract, for tests.

=======================  ================================================================================
`environment.py`         makes an environment of its own with the double in it (`make_environment`)
`package/`               the package that is installed there; Python 3.8 to 3.12, numpy and nothing else
`helper.py`              what works for it: our emulator, in a process of its own with this environment's Python
`README.md`              how it is told what to do, and what it cannot show
=======================  ================================================================================

What it makes runs on no device and says so: its SDK version ends with `-double-emulated`. Its limits are listed in
`README.md`; above all, its numbers are the emulator's, its allocation is none, and an error text that is public
nowhere is its own.
"""
