"""Where HailoRT keeps its enumerations."""
