"""What `calibration` may name: which files are meant, in which order, and what is refused."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from build_rules.calibration.pool.sources import find_fault, list_images, list_sources, sources_of
from build_rules.errors import InputError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(calibration: Path) -> tuple[str, ...]:
    """The names of the images behind `calibration`; their files must be there."""
    found = sources_of(calibration, list_sources(calibration))
    assert found.kind == "images"
    assert all(file.is_file() for file in found.files)
    assert [os.path.normpath(found.folder / name) for name in found.names] == [*map(os.path.normpath, found.files)]
    return found.names


# Folders.


def test_a_folder_is_searched_to_its_depth_in_the_order_of_bytes(tmp_path: Path) -> None:
    wanted = ("Z.tif", "a.png", "a/b/c.bmp", "a/z.JPG", "b.png", "\u00e9.png", "\U0001f600.png")
    shuffled = list(wanted)
    random.Random(3).shuffle(shuffled)
    touch(tmp_path, *shuffled, "labels.txt", ".DS_Store", ".hidden.png", ".git/x.png", "readme", "x.png.txt")
    assert list_images(tmp_path) == names(tmp_path) == wanted


def test_a_folder_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list_images(tmp_path / "link") == ("a.png",)


def test_a_folder_without_images(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match="no image"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        list_images(tmp_path / "absent")


def test_every_searched_folder_is_told_before_it_is_read(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a/b/x.png", "pool/c/y.png", "pool/.hidden/z.png")
    for calibration in (tmp_path / "pool", tmp_path / "pool/**/*.png"):
        watched: list[Path] = []
        list_sources(calibration, watched.append)
        assert sorted(map(str, watched)) == [str(tmp_path / p) for p in ("pool", "pool/a", "pool/a/b", "pool/c")]


# Links, and files that are none.


def test_a_link_counts_as_the_file_inside_the_folder_that_it_names(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a.png", "pool/deep/c.png")
    (tmp_path / "pool/b.png").symlink_to("a.png")
    (tmp_path / "pool/deep/d.png").symlink_to("../b.png")
    for calibration in (tmp_path / "pool", tmp_path / "pool/**/*.png"):
        assert names(calibration) == ("a.png", "b.png", "deep/c.png", "deep/d.png")


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a/x.png")
    (tmp_path / "pool/b").symlink_to("a")
    (tmp_path / "pool/a/up").symlink_to("..")
    for calibration in (tmp_path / "pool", tmp_path / "pool/**/*.png", tmp_path / "pool/*/*.png"):
        assert names(calibration) == ("a/x.png",)


@pytest.mark.parametrize("pattern", ["pool", "pool/**/*.png", "pool/*.png"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, "pool/a.png", "outside/x.png", "notes.txt")
    (tmp_path / "pool/notes.txt").symlink_to("../notes.txt")
    (tmp_path / "pool/.c.png").symlink_to("../outside/x.png")
    assert names(tmp_path / pattern) == ("a.png",), "what is no image, or hidden, is passed over wherever it leads"
    (tmp_path / "pool/c.png").symlink_to("../outside/x.png")
    with pytest.raises(InputError, match=r"pool/c\.png: a symbolic link that leaves the calibration folder"):
        list_sources(tmp_path / pattern)


def test_a_link_to_a_folder_elsewhere_is_refused_where_it_would_be_searched(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a.png", "outside/x.png")
    (tmp_path / "pool/d").symlink_to(tmp_path / "outside")
    assert names(tmp_path / "pool/*.png") == ("a.png",)
    for pattern in ("pool", "pool/**/*.png", "pool/*/*.png"):
        with pytest.raises(InputError, match="pool/d: a symbolic link that leaves"):
            list_sources(tmp_path / pattern)


@pytest.mark.parametrize("target", ["gone.png", "c.png", "d.png", "a.png/x.png"])
@pytest.mark.parametrize("pattern", ["pool", "pool/*.png"])
def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path, target: str, pattern: str) -> None:
    touch(tmp_path, "pool/a.png")
    (tmp_path / "pool/c.png").symlink_to(target)
    (tmp_path / "pool/d.png").symlink_to("c.png")
    with pytest.raises(InputError, match=r"pool/[cd]\.png: a symbolic link that leads nowhere; remove it\.$"):
        list_sources(tmp_path / pattern)


def test_pipes_and_sockets_are_refused_without_waiting(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a.png")
    os.mkfifo(tmp_path / "pool/b.png")
    (tmp_path / "list.txt").write_text("pool/b.png")
    for calibration in (tmp_path / "pool", tmp_path / "pool/*.png", tmp_path / "list.txt"):
        with pytest.raises(InputError, match=r"pool/b\.png.* not a regular file"):
            list_sources(calibration)
    (tmp_path / "pool/b.png").rename(tmp_path / "pool/.pipe")
    (tmp_path / "pool/c.png").symlink_to(".pipe")
    with pytest.raises(InputError, match=r"pool/c\.png: not a regular file"):
        list_sources(tmp_path / "pool")
    (tmp_path / "pool/c.png").unlink()
    (tmp_path / "pool/pipe").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(tmp_path / "pool")  # the path of a socket is short
        try:
            one.bind("s.png")
        finally:
            os.chdir(here)
    with pytest.raises(InputError, match=r"pool/s\.png: not a regular file"):
        list_sources(tmp_path / "pool")


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "pool/a.png", "pool/closed/b.png")
    (tmp_path / "pool/closed").chmod(0)
    if os.access(tmp_path / "pool/closed", os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(InputError, match=r"pool/closed.*: cannot be read \(Permission denied\); check"):
        list_sources(tmp_path / "pool")
    (tmp_path / "pool/closed").chmod(0o700)


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["1.jpg", "2.jpg"]),
        ("*", ["1.jpg", "2.jpg", "3.png"]),
        ("?.[jp][pn]g", ["1.jpg", "2.jpg", "3.png"]),
        ("[!12].*", ["3.png"]),
        ("**/*.jpg", ["1.jpg", "2.jpg", "a/4.jpg", "a/b/5.jpg", "a/b/c/7.jpg"]),
        ("**", ["1.jpg", "2.jpg", "3.png", "a/4.jpg", "a/b/5.jpg", "a/b/6.JPG", "a/b/c/7.jpg"]),
        ("a*/**/b/*", ["a/b/5.jpg", "a/b/6.JPG"]),
        ("**/b/**/*.jpg", ["a/b/5.jpg", "a/b/c/7.jpg"]),
        ("*/*/*", ["a/b/5.jpg", "a/b/6.JPG"]),
        (".*/*.jpg", [".hidden/8.jpg"]),
        ("**/.*.jpg", ["a/.9.jpg"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touch(tmp_path, "1.jpg", "2.jpg", "3.png", "a/4.jpg", "a/b/5.jpg", "a/b/6.JPG", "a/b/c/7.jpg")
    touch(tmp_path, ".hidden/8.jpg", "a/.9.jpg", "notes.txt", "a/b/notes")
    assert list(names(tmp_path / pattern)) == expected


def test_names_are_relative_to_the_folder_before_the_first_wildcard(tmp_path: Path) -> None:
    touch(tmp_path, "photos/2024/day/1.jpg")
    found = sources_of(tmp_path / "photos/20*/day/*", list_sources(tmp_path / "photos/20*/day/*"))
    assert (found.folder, found.names) == (tmp_path / "photos", ("2024/day/1.jpg",))


def test_a_pattern_without_match(tmp_path: Path) -> None:
    touch(tmp_path, "photos/1.jpg", "photos/notes.txt")
    for pattern in ("photos/*.png", "photos/*.txt", "photos/*/*.jpg"):
        with pytest.raises(InputError, match="no image matches"):
            list_sources(tmp_path / pattern)


def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(tmp_path: Path) -> None:
    touch(tmp_path, "photos [1]/1.jpg")
    assert names(tmp_path / "photos [1]") == ("1.jpg",)


# Lists.


def test_a_list_is_taken_in_order_of_name_each_line_once(tmp_path: Path) -> None:
    touch(tmp_path, "lists/b.jpg", "lists/a.jpg", "lists/sub/c", "other/d.jpg", "elsewhere/e.jpg")
    path = tmp_path / "lists/photos.txt"
    lines = ["b.jpg", "a.jpg", "", "# a comment", "./a.jpg", "sub//c", "  ../other/d.jpg  "]
    for order in (lines, lines[::-1]):
        path.write_text("\n".join(order))
        assert list_sources(path)[0] == path, "a change of the list is a change of an input"
        assert names(path) == ("../other/d.jpg", "a.jpg", "b.jpg", "sub/c")


def test_lists_from_other_systems_and_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "repo/a.jpg", "repo/\u00e9.jpg", "elsewhere/e.jpg")
    monkeypatch.chdir(tmp_path / "repo")
    text = f"\ufeff\u00e9.jpg\r\na.jpg\r\n{tmp_path}/elsewhere/e.jpg\r\n"
    Path("photos.txt").write_text(text, encoding="utf-8")
    assert names(Path("photos.txt")) == (f"{tmp_path}/elsewhere/e.jpg", "a.jpg", "\u00e9.jpg")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a.jpg\n\n# x\ngone.jpg\n", r"list\.txt, line 4: .*gone\.jpg cannot be found \(No such file or directory\)"),
        (b"a.jpg\nsub\n", r"list\.txt, line 2: .*sub is a folder"),
        (b"a.jpg/b\n", r"line 1: .*cannot be found \(Not a directory\)"),
        (b"x" * 300 + b".jpg\n", r"line 1: .*cannot be found \(File name too long\)"),
        (b"# nothing\n\n", r"list\.txt: names no image"),
        (b"", r"list\.txt: names no image"),
        ("a.jpg\n".encode("utf-16"), "zero byte; save it as UTF-8"),
    ],
)
def test_wrong_lists(tmp_path: Path, content: bytes, told: str) -> None:
    touch(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=told):
        list_sources(tmp_path / "list.txt")


def test_a_list_that_changes_while_it_is_read_is_told_before(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "list.txt").write_text("a.jpg")
    watched: list[Path] = []
    list_sources(tmp_path / "list.txt", watched.append)
    assert watched == [tmp_path / "list.txt"]


# Snapshots, and what is nothing of all that.


def test_snapshots(tmp_path: Path) -> None:
    touch(tmp_path, "calibration-b.safetensors", "calibration-a.safetensors", "x.png")
    found = sources_of(tmp_path, list_sources(tmp_path))
    assert (found.kind, found.names) == ("snapshots", ("calibration-a.safetensors", "calibration-b.safetensors"))
    alone = tmp_path / "calibration-b.safetensors"
    assert sources_of(alone, list_sources(alone)).files == (alone,)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("absent", "absent does not exist"),
        ("one.jpg", "one.jpg is none of these"),
        ("dangling.txt", "dangling.txt is none of these but a link to a file that is gone"),
        ("pipe.txt", "pipe.txt is none of these but a pipe and not a regular file"),
        ("absent/*.jpg", "there is no folder"),
        ("**.jpg", r"\*\* stands for folders and is alone between slashes; write \*\*/\*\.jpg"),
        ("*/../*.jpg", ".. behind a wildcard"),
    ],
)
def test_what_cannot_be_meant_is_told_with_what_can(tmp_path: Path, written: str, told: str) -> None:
    touch(tmp_path, "one.jpg")
    (tmp_path / "dangling.txt").symlink_to("gone.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    fault = find_fault(tmp_path / written)
    assert fault is not None
    assert fault.startswith("a folder of images, a list of images (.txt), a pattern such as photos/**/*.jpg, or a snap")
    with pytest.raises(InputError, match=told):
        raise InputError(fault)


def test_what_may_be_meant_has_no_fault(tmp_path: Path) -> None:
    touch(tmp_path, "pool/1.jpg", "list.txt", "any.safetensors")
    for written in ("pool", "list.txt", "any.safetensors", "pool/*.jpg", "**/*.jpg"):
        assert find_fault(tmp_path / written) is None


# Names that are not UTF-8.


def test_names_that_are_not_utf_8_are_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    raw = [b"\xff.png", b"a.png", "\u00e9.png".encode(), "\uffee.png".encode(), "\U0001f600.png".encode()]
    for name in raw:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    (tmp_path / "list.txt").write_bytes(b"\n".join(raw))
    for calibration in (tmp_path, tmp_path / "*.png", tmp_path / "list.txt"):
        assert [os.fsencode(name) for name in names(calibration)] == sorted(raw)


def test_the_order_is_the_same_in_every_locale(tmp_path: Path) -> None:
    raw = [b"\xff.png", b"a.png", "\u00e9.png".encode(), "\U0001f600.png".encode(), b"B.png"]
    for name in raw:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    program = (
        "import os, sys; from pathlib import Path; from build_rules.calibration.pool.sources import list_images;"
        "print([os.fsencode(name) for name in list_images(Path(sys.argv[1]))])"
    )
    found = {
        subprocess.run(
            [sys.executable, *flags, "-c", program, str(tmp_path)],
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
        ).stdout
        for flags in ([], ["-X", "utf8=0"])
        for environment in ({"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"})
    }
    assert [line.decode().strip() for line in found] == [repr(sorted(raw))]


def test_a_list_behind_a_link_means_what_the_system_says(tmp_path: Path) -> None:
    """`..` behind a link leads out of the folder that the link names, and the files are named so that all agree."""
    shared, here = tmp_path / "shared", tmp_path / "repository"
    for folder in (shared / "lists", shared / "photos", here / "photos"):
        folder.mkdir(parents=True)
    for folder in (shared, here):
        (folder / "photos/0.png").write_bytes(str(folder).encode())
    (here / "lists").symlink_to(shared / "lists")
    (shared / "lists/all.txt").write_text("../photos/0.png\n./../photos//0.png\n")
    source = here / "lists/all.txt"
    files = list_sources(source)
    found = sources_of(source, files)
    assert found.names == ("../photos/0.png",)
    assert [path.read_bytes() for path in found.files] == [str(shared).encode()]
    assert found.files == files[1:]
