"""Which of the vendor's features a HEF uses, and where that puts what runs on the chip.

Source of the rules: HailoRT 4.18-5.2, open source (`Hef::Impl::get_supported_features`, `fill_core_ops`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from build_rules.hef.schema import (
    ContextField,
    ContextMetadataField,
    CoreOpField,
    Extension,
    FusedLayersField,
    HeaderField,
    HefField,
    MetadataField,
    NetworkGroupField,
    OpField,
)
from build_rules.protobuf import Message
from build_rules.records.hardware import from_code

__all__ = ["Features", "find_core_op", "group_name", "layouts", "read_features", "sorted_outputs"]


@dataclass(frozen=True)
class Features:
    """The features that count: `mandatory` and `optional` are numbers of extensions, none where the lists are ignored.

    `arch_code` is the number of the architecture.
    """

    arch_code: int
    mandatory: frozenset[int]
    optional: frozenset[int]

    @property
    def multi_layout(self) -> bool:
        """Whether the runtime reads the streams from the group's partial layouts, and crashes when there are none."""
        return any(chip.partial_layouts for chip in from_code(self.arch_code))

    @property
    def net_flow(self) -> bool:
        """Whether the group's operations, and not the group itself, say what runs on the chip."""
        return Extension.NET_FLOW in self.mandatory

    @property
    def several_networks(self) -> bool:
        """Whether streams belong to networks that have names."""
        return Extension.MULTI_NETWORK_VARIABLE_BATCH_SIZE in self.optional

    @property
    def bursts(self) -> bool:
        """Whether suppression on the chip gives its boxes in bursts."""
        return Extension.NMS_OUTPUT_BURST in self.mandatory

    @property
    def pads_itself(self) -> bool:
        """Whether the runtime lets the device take padding off, which the compiler has not done."""
        return Extension.HW_PADDING not in self.optional

    @property
    def per_feature(self) -> bool:
        """Whether outputs are quantized per feature."""
        return Extension.OUTPUT_SCALE_PER_FEATURE in self.mandatory


def read_features(message: Message) -> Features:
    """Return the features of a whole message. A header of version 0 is older than the lists of extensions."""
    header = message.message(HefField.HEADER)
    told = header.uint64(HeaderField.VERSION) > 0
    mandatory, optional = (
        frozenset(one.uint32(1) for one in message.messages(field)) if told else frozenset[int]()
        for field in (HefField.EXTENSIONS, HefField.OPTIONAL_EXTENSIONS)
    )
    return Features(header.uint32(HeaderField.HW_ARCH), mandatory, optional)


def group_name(group: Message) -> str:
    """Return the name under which the runtime knows a network group."""
    partial = next(group.messages(NetworkGroupField.PARTIALS), None)
    named = group if partial is None else partial.message(1)
    return named.message(CoreOpField.METADATA).string(MetadataField.NAME)


def find_core_op(group: Message, ops: Iterable[Message], features: Features) -> Message | None:
    """Return what says what runs on the chip: the group itself or, with operations on the host, one of those.

    Where the extension for such operations is missing, so that the runtime does not see them, a group without contexts
    of its own is still read by them. None when there is no such operation.
    """
    if not features.net_flow and (group.has(NetworkGroupField.CONTEXTS) or group.has(NetworkGroupField.PARTIALS)):
        return group
    found = next((op.message(OpField.CORE_OP) for op in ops if op.has(OpField.CORE_OP)), None)
    return group if found is None and not features.net_flow else found


def layouts(core_op: Message, features: Features) -> tuple[Message, ...]:
    """Return what the streams are read from, one after the other; all say the same. Empty where the runtime crashes."""
    if not features.multi_layout:
        return (core_op,)
    return tuple(partial.message(1) for partial in core_op.messages(CoreOpField.PARTIALS))


def sorted_outputs(group: Message, core_op: Message, features: Features) -> tuple[str, ...]:
    """Return the names of the outputs in the order in which the host sees them, empty when the file has no list."""
    fused = core_op.message(CoreOpField.FUSED_LAYERS)
    if fused.uint32(FusedLayersField.HAS_FUSED):
        return fused.strings(FusedLayersField.SORTED_OUTPUTS)
    partial = next(group.messages(NetworkGroupField.PARTIALS), None)
    told = () if partial is None or features.net_flow else partial.message(1).strings(CoreOpField.SORTED_OUTPUTS)
    if told:
        return told
    if order := group.strings(NetworkGroupField.SORTED_OUTPUTS):
        return order
    contexts = tuple(core_op.messages(CoreOpField.CONTEXTS))
    if not contexts:
        return ()
    return contexts[-1].message(ContextField.METADATA).strings(ContextMetadataField.SORTED_OUTPUTS)  # very old files
