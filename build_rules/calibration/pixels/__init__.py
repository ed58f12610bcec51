"""Pixels: decoding images, fitting them to a size, tiles of a frame, the colours of a camera."""
