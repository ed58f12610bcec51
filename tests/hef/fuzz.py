"""Mutations of HEFs: every one is read or refused with an `InputError`, in bounded time and memory.

    python -m tests.hef.fuzz --count 10000 FILE.hef...

Two of three mutated files get right checksums, so that the damage reaches what lies behind them. What is tried on each:
everything `doit inspect`, `doit strip` and a new ZIP do.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from build_rules.commands.describe_hef import describe_hef
from build_rules.commands.render import render_json, render_text
from build_rules.errors import InputError
from build_rules.hef import embed_zip, strip
from build_rules.hef.header import LAYOUTS

MEMBERS = {"edgefirst.json": b'{"schema_version": 2}', "labels.txt": b"a\n"}
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
# Where in the records of a ZIP its lengths, counts and offsets stand, after the signature.
ZIP_NUMBERS = {
    b"PK\x03\x04": (18, 22, 26, 28),
    b"PK\x01\x02": (20, 24, 28, 30, 32, 42),
    b"PK\x05\x06": (8, 10, 12, 16, 20),
}


@dataclass
class Outcome:
    """What came of many mutations. Times in seconds."""

    tried: int = 0
    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    broken: list[str] = field(default_factory=list)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return a damaged copy: bytes changed, inserted, cut out, repeated, the end cut off or lengthened."""
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        # Half of them where the structure is: in the header and the first of the message, or in a ZIP at the end.
        place = chance.choice((chance.randrange(64), chance.randrange(4096), -1 - chance.randrange(400), None))
        at = chance.randrange(len(damaged)) if place is None else place % len(damaged)
        kind = chance.randrange(8)
        if kind == 7:
            misplace(damaged, chance)
        elif kind < 3:
            damaged[at] = chance.choice((*INTERESTING, chance.randrange(256)))
        elif kind == 3:
            damaged[at:at] = chance.randbytes(chance.randrange(1, 20))
        elif kind == 4:
            del damaged[at : at + chance.randrange(1, 20)]
        elif kind == 5:
            damaged[at:at] = damaged[at : at + chance.randrange(1, 200)]
        else:
            del damaged[at if chance.randrange(4) == 0 else len(damaged) :]
        damaged = damaged or bytearray(b"\x01")
    return bytes(repaired(damaged) if chance.randrange(3) else damaged)


def misplace(data: bytearray, chance: random.Random) -> None:
    """Let a number in the ZIP, if there is one, say something else: nothing, a little more or less, anything."""
    signature = chance.choice(tuple(ZIP_NUMBERS))
    at = data.rfind(signature) + chance.choice(ZIP_NUMBERS[signature])
    if data.rfind(signature) < 0 or at + 4 > len(data):
        return
    number = int.from_bytes(data[at : at + 4], "little") + chance.choice((-4096, -1, 1, 4096))
    number = chance.choice((0, number, number, len(data), 1 << 31, (1 << 32) - 1, chance.randrange(1 << 32)))
    data[at : at + 4] = (number % (1 << 32)).to_bytes(4, "little")


def repaired(data: bytearray) -> bytearray:
    """Give a file of a known version the sizes and checksums that its header ought to hold, as far as that goes."""
    version = int.from_bytes(data[4:8], "big")
    if version not in LAYOUTS or len(data) < LAYOUTS[version].size:
        return data
    layout, body = LAYOUTS[version], bytes(data[LAYOUTS[version].size :])
    if version == 0:
        data[8:12] = len(body).to_bytes(4, "big")
    elif version < 3:
        rest = len(body) - int.from_bytes(data[8:12], "big")
        at = 16 if version == 1 else 20
        data[at : at + 8] = max(rest, 0).to_bytes(8, "big")
    else:
        data[40:48] = bytes(8)
    digest = layout.digest()
    digest.update(body)
    at = 16 if version == 0 else 12
    data[at : at + len(digest.digest())] = digest.digest()
    return data


def attempt(data: bytes, folder: Path, outcome: Outcome) -> None:
    """Try everything on one file, and note what came of it."""
    path, output = folder / "mutated.hef", folder / "out.hef"
    path.write_bytes(data)
    outcome.tried += 1
    started = time.perf_counter()
    try:
        facts = describe_hef(path)
        render_json(facts)
        render_text(facts)
        outcome.read += 1
        strip(path, output)
        embed_zip(output, MEMBERS, output)
    except InputError:
        outcome.refused += 1
    except Exception as error:
        kept = Path(tempfile.gettempdir()) / f"broken-{zlib.crc32(data):08x}.hef"
        shutil.copy(path, kept)
        outcome.broken.append(f"{type(error).__name__}: {error} ({kept})")
    outcome.slowest = max(outcome.slowest, time.perf_counter() - started)
    strangers = {path.name for path in folder.iterdir()} - {"mutated.hef", "out.hef"}
    if strangers:
        outcome.broken.append(f"left behind: {sorted(strangers)}")


def run(original: bytes, count: int, seed: int, folder: Path) -> Outcome:
    """Try `count` seeded mutations of one file."""
    outcome, chance = Outcome(), random.Random(seed)
    for _ in range(count):
        attempt(mutate(original, chance), folder, outcome)
    return outcome


def main() -> int:
    """Fuzz the files of the command line and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    broken = False
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for file in options.files:
            outcome = run(file.read_bytes(), options.count, options.seed, Path(folder))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            sys.stdout.write(
                f"{file.name}: {outcome.tried} tried, {outcome.read} read, {outcome.refused} refused, "
                f"slowest {outcome.slowest:.2f} s, peak {peak} MiB, {len(outcome.broken)} broken\n"
            )
            sys.stdout.writelines(f"  {one}\n" for one in outcome.broken[:20])
            sys.stdout.flush()
            broken |= bool(outcome.broken)
    return int(broken)


if __name__ == "__main__":
    raise SystemExit(main())
