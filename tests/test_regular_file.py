from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from build_rules.calibration.pixels.images import decode
from build_rules.calibration.pool.list_file import read_list
from build_rules.calibration.snapshot.safetensors_file import read_header
from build_rules.compilers.har_file import read_har
from build_rules.declared.model import load_models
from build_rules.declared.settings import read_settings
from build_rules.errors import InputError
from build_rules.hef import read_hef
from build_rules.onnx_file.skeleton import read_skeleton
from build_rules.regular_file import find_fault, open_regular, read_small
from build_rules.toml_table import read_toml
from build_rules.trainer.labels import read_labels
from build_rules.trainer.read_document import read_document

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def _no_file(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket has a hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _environment(path: Path) -> None:
    path.symlink_to("/proc/self/environ")


def _system(path: Path) -> None:
    path.symlink_to("/sys/kernel/uevent_seqnum")


def _pointer(path: Path) -> None:
    path.write_bytes(POINTER)


def _linked_pointer(path: Path) -> None:
    path.with_name("real").write_bytes(POINTER)
    path.symlink_to("real")


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "folder": (_no_file, "is a folder and not a regular file"),
    "pipe": (_pipe, "is a pipe and not a regular file"),
    "socket": (_socket, "is a socket and not a regular file"),
    "device": (_zero, "is a device and not a regular file"),
    "environment": (_environment, "is made up by the kernel and not a file of yours"),
    "system": (_system, "is made up by the kernel and not a file of yours"),
    "pointer": (
        _pointer,
        "is a Git LFS pointer: the file itself was not downloaded with the clone; run `git lfs pull`",
    ),
    "link": (_linked_pointer, "is a Git LFS pointer"),
}
READERS: dict[str, Callable[[Path], object]] = {
    "settings": read_toml,
    "pyproject": read_settings,
    "labels": read_labels,
    "list": read_list,
    "snapshot": read_header,
    "hef": read_hef,
    "har": read_har,
    "onnx": read_document,
    "skeleton": read_skeleton,
    "image": decode,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_tells_what_is_no_file(tmp_path: Path, reader: str, kind: str) -> None:
    make, message = KINDS[kind]
    path = tmp_path / "named"
    make(path)
    with pytest.raises(InputError) as caught:
        READERS[reader](path)
    told = str(caught.value)
    if reader == "image" and kind not in ("pointer", "link"):
        message = "not a regular file" if kind not in ("environment", "system") else ""
    assert message in told
    assert str(path) in told or reader == "skeleton"  # there the caller says which file
    assert "\n" not in told


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_to_a_regular_file_is_one(tmp_path: Path, kind: str) -> None:
    (tmp_path / "real").write_bytes(b"content")
    (tmp_path / "link").symlink_to("real")
    assert find_fault(tmp_path / "link") is None
    assert read_small(tmp_path / "link", 7, "a test") == b"content"
    KINDS[kind][0](tmp_path / "other")
    if kind not in ("pointer", "link"):
        assert find_fault(tmp_path / "other") == KINDS[kind][1]


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345678")
    with pytest.raises(InputError, match="x: has more than 7 bytes, which is too much for a test"):
        read_small(tmp_path / "x", 7, "a test")
    os.truncate(tmp_path / "x", 1 << 40)
    with pytest.raises(InputError, match="more than 1 MiB"):
        read_small(tmp_path / "x", 1 << 20, "a test")


def test_what_is_missing_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "x")
    (tmp_path / "gone").symlink_to("x")
    assert find_fault(tmp_path / "gone") == "is a link to a file that is gone"
    assert find_fault(tmp_path / "x") == "does not exist"
    assert "cannot be found" in str(find_fault(tmp_path / "x\0"))


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number, (make, _) in enumerate(KINDS.values()):
        path = tmp_path / str(number) / "named"
        path.parent.mkdir()
        make(path)
        for read in READERS.values():
            with pytest.raises(InputError):
                read(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("pointer", "link")])
def test_what_a_list_names_is_a_regular_file(tmp_path: Path, kind: str) -> None:
    KINDS[kind][0](tmp_path / "named")
    (tmp_path / "photos.txt").write_text("# a comment\nnamed\n")
    with pytest.raises(InputError, match=r"photos\.txt, line 2: .*named (is a|is made up by the kernel)"):
        read_list(tmp_path / "photos.txt")


def told_of_models(repository: Path) -> str:
    """Return what is wrong with what the models of a repository declare."""
    models = load_models(repository / "models", read_settings(repository / "pyproject.toml"))
    return "\n".join(fault.text for model in models for fault in model.faults)


DECLARED = {
    "onnx": 'onnx = "named"\n',
    "labels": 'labels = "named"\n',
    "hef": 'compiler = "prebuilt"\nhef = "named"\n',
    "calibration": 'calibration = "named"\n',
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("pointer", "link")])
@pytest.mark.parametrize("key", DECLARED)
def test_what_a_model_names_is_looked_at_before_it_is_opened(tmp_path: Path, key: str, kind: str) -> None:
    if (key, kind) == ("calibration", "folder"):
        return  # a folder of images
    folder = tmp_path / "models" / "m"
    (folder / "calibration").mkdir(parents=True)
    (folder / "m.onnx").write_bytes(b"")
    (folder / "model.toml").write_text(DECLARED[key])
    KINDS[kind][0](folder / "named")
    told = told_of_models(tmp_path)
    assert key in told
    assert (KINDS[kind][1] if key != "calibration" else "is none of these") in told


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["model.toml", "labels.txt", "calibration-1.safetensors"])
def test_what_lies_in_a_models_folder_by_its_usual_name(tmp_path: Path, name: str, kind: str) -> None:
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    if not name.startswith("calibration"):
        (folder / "calibration").mkdir()
    (folder / "m.onnx").write_bytes(b"")
    KINDS[kind][0](folder / name)
    if name != "model.toml" and kind in ("pointer", "link"):  # told by the step that reads it
        return
    assert KINDS[kind][1] in told_of_models(tmp_path)
