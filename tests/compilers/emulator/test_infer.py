"""HEFs that were made for silicon do not run on the host."""

from __future__ import annotations

import pytest

from build_rules.compilers.emulator.compile import pack_payload, unpack_payload
from build_rules.compilers.emulator.infer import HefSession
from build_rules.errors import InputError
from tests.shared import SHARED, needs_shared


@needs_shared
@pytest.mark.parametrize("name", ["v1_arcface_mobilefacenet", "v3_scrfd_2.5g"])
def test_real_hef_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="only emulated HEFs"):
        HefSession(SHARED / "hefs" / f"{name}.hef")


def test_payload_round_trip_and_damage() -> None:
    payload = pack_payload(b"network" * 100, 6)
    assert unpack_payload(payload) == b"network" * 100
    assert unpack_payload(b"something else") is None
    with pytest.raises(InputError, match="cut short"):
        unpack_payload(payload[:-3])
    with pytest.raises(InputError, match="damaged"):
        unpack_payload(payload[:20] + b"\xff\xff" + payload[22:])
