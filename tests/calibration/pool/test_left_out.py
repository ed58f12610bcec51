"""What a run tells of its pool: one line of counts, some names, nothing that steers a terminal."""

from __future__ import annotations

import os

from build_rules.calibration.pool.left_out import MAX_NAMED, Outcome, summarize


def test_a_pool_in_which_all_is_well_is_one_line() -> None:
    assert summarize(1, []) == ("1 image: 1 usable",)
    assert summarize(4980, []) == ("4,980 images: 4,980 usable",)
    assert summarize(0, []) == ("0 images: 0 usable",)


def test_what_is_left_out_is_counted_and_named() -> None:
    left_out = [
        Outcome("z.jpg", "broken", "the file is empty"),
        Outcome("b.jpg", "duplicate", "the same file as a.jpg"),
        Outcome("y.jpg", "broken", "image file is truncated"),
    ]
    assert summarize(2, left_out) == (
        "5 images: 2 usable, 1 duplicate, 2 skipped (cannot be decoded)",
        "duplicate: b.jpg: the same file as a.jpg",
        "skipped: z.jpg: the file is empty",
        "skipped: y.jpg: image file is truncated",
    )


def test_of_many_only_some_are_named_of_each_kind() -> None:
    duplicates = [Outcome(f"d{number}", "duplicate", "the same file as a") for number in range(MAX_NAMED + 1537)]
    broken = [Outcome(f"b{number}", "broken", "no image") for number in range(MAX_NAMED)]
    lines = summarize(12, [*duplicates, *broken])
    assert lines[0] == "1,589 images: 12 usable, 1,557 duplicates, 20 skipped (cannot be decoded)"
    assert len(lines) == 1 + MAX_NAMED + 1 + MAX_NAMED
    assert lines[MAX_NAMED : MAX_NAMED + 3] == (
        f"duplicate: d{MAX_NAMED - 1}: the same file as a",
        "and 1,537 more",
        "skipped: b0: no image",
    )


def test_names_are_fit_for_a_terminal() -> None:
    name = os.fsdecode(b"\xff\x1b[2J\n.jpg")
    lines = summarize(0, [Outcome(name, "broken", name), Outcome(name, "duplicate", name)])
    assert all(line.isprintable() for line in lines)
    assert lines[2] == "skipped: \ufffd\ufffd[2J .jpg: \ufffd\ufffd[2J .jpg"
