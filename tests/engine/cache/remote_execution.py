"""Bazel's `ActionResult`, for Google's protobuf library, with the fields that entries of ours can have.

Numbers and types from build/bazel/remote/execution/v2/remote_execution.proto (github.com/bazelbuild/remote-apis).
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

__all__ = ["ActionResult"]

_FIELDS: dict[str, list[tuple[str, int, str, bool]]] = {
    "Digest": [("hash", 1, "string", False), ("size_bytes", 2, "int64", False)],
    "OutputFile": [
        ("path", 1, "string", False),
        ("digest", 2, "Digest", False),
        ("is_executable", 4, "bool", False),
        ("contents", 5, "bytes", False),
    ],
    "OutputDirectory": [("path", 1, "string", False), ("tree_digest", 3, "Digest", False)],
    "OutputSymlink": [("path", 1, "string", False), ("target", 2, "string", False)],
    "ExecutedActionMetadata": [("worker", 1, "string", False)],
    "ActionResult": [
        ("output_files", 2, "OutputFile", True),
        ("output_directories", 3, "OutputDirectory", True),
        ("exit_code", 4, "int32", False),
        ("stdout_raw", 5, "bytes", False),
        ("stdout_digest", 6, "Digest", False),
        ("execution_metadata", 9, "ExecutedActionMetadata", False),
        ("output_symlinks", 12, "OutputSymlink", True),
    ],
}


def _message_class() -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"string": 9, "int64": 3, "bool": 8, "bytes": 12, "int32": 5}
    file = descriptor_pb2.FileDescriptorProto(name="cache_test.proto", package="cache_test", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            added.type = scalars.get(kind, kinds.TYPE_MESSAGE)
            if kind not in scalars:
                added.type_name = f".cache_test.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("cache_test.ActionResult"))


ActionResult: Any = _message_class()
