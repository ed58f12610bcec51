"""Messages changed at random, and whether we say of each what HailoRT's rules (`hailort.py`) do.

python -m tests.hef.differential --count 10000 --seed 1
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Iterator
from typing import Any

from build_rules.errors import InputError
from build_rules.hef import build_container
from build_rules.hef.container import scan_container
from build_rules.hef.loaders import find_loaders
from build_rules.hef.reader import _hef
from tests.hef import hailort
from tests.hef.changes import host_work, mux, planes, vectors
from tests.hef.samples import message

__all__ = ["disagreements"]

STARTS = (None, host_work, mux(1), planes(1), vectors)
ARCHITECTURES = ("hailo8", "hailo8l", "hailo15h")
NUMBERS = (0, 1, 2, 3, 4, 5, 6, 9, 13, 25, 26, 36, 128, 256, 70_000)


def parts(hef: Any) -> Iterator[Any]:
    """Every message in a message, itself included."""
    yield hef
    for field, value in hef.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from parts(inner)


def disturb(hef: Any, chance: random.Random) -> None:
    """Change one thing: a number, a name, a list shorter or longer, a part that is not there any more."""
    part = chance.choice(list(parts(hef)))
    fields = list(part.DESCRIPTOR.fields)
    field = chance.choice(fields)
    value = getattr(part, field.name)
    if field.is_repeated and len(value) and chance.randrange(3):
        if chance.randrange(2):
            del value[chance.randrange(len(value))]
        else:
            value.append(value[0])
    elif field.is_repeated or field.type == field.TYPE_MESSAGE:
        part.ClearField(field.name)
    elif field.type == field.TYPE_STRING:
        setattr(part, field.name, chance.choice(("", "net", "net/conv42", "net/nms", "n" * 128)))
    elif field.type == field.TYPE_BOOL:
        setattr(part, field.name, not value)
    elif field.type in (field.TYPE_UINT32, field.TYPE_UINT64):
        setattr(part, field.name, chance.choice(NUMBERS))


def verdicts(proto: bytes, version: int) -> tuple[bool, bool]:
    """What we say of HailoRT 4.x and 5.x."""
    container = scan_container(io.BytesIO(build_container(proto, b"", version)), "a.hef")
    try:
        four, five, _ = find_loaders(_hef(memoryview(proto), "a.hef", container), False)
    except InputError:
        return False, False
    return four.loads, five.loads


def disagreements(count: int, seed: int) -> list[str]:
    """Return a description of every message of `count` about which the two say different things."""
    chance, found = random.Random(seed), []
    for _ in range(count):
        hef = hailort.Hef()
        hef.ParseFromString(message(chance.choice(ARCHITECTURES), chance.choice(STARTS)))
        for _ in range(chance.choice((1, 1, 2, 4))):
            disturb(hef, chance)
        proto, version = bytes(hef.SerializeToString()), chance.randrange(4)
        judged = [hailort.message_refusal(proto, version, line) for line in (4, 5)]
        ours = verdicts(proto, version)
        if list(ours) != [one is None for one in judged]:
            found.append(f"we say {ours}, the judge {judged}, version {version}:\n{hef}")
    return found


def main() -> int:
    """Print what the two disagree about."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = disagreements(options.count, options.seed)
    sys.stdout.writelines(f"{one}\n" for one in found)
    sys.stdout.write(f"{options.count} tried, {len(found)} disagreements\n")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
