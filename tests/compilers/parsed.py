"""Hand-made networks as the emulator's optimization sees them."""

from __future__ import annotations

from pathlib import Path

from build_rules.compilers.emulator.network import Network, load_network
from build_rules.compilers.har_file import read_har
from tests.compilers.nets import Build, Net

__all__ = ["network_of"]


def network_of(folder: Path, net: Net, *outputs: str) -> Network:
    """Parse a network and read it back, as `optimize` does."""
    build = Build(folder, net.model(outputs), [net.node(output) for output in outputs]).parse()
    return load_network(read_har(build.parsed))
