"""Tests of the driver of the DFC, and of the double that stands for it."""
