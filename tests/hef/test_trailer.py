from __future__ import annotations

import json
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.hef import (
    append_zip,
    build_container,
    contains_zip_signature,
    read_container,
    read_hef,
    read_members,
    strip,
    write_hef,
)
from build_rules.hef.trailer import MAX_MEMBERS
from tests.hef.samples import REAL, spec
from tests.shared import needs_shared

MEMBERS = {"edgefirst.json": b'{"schema_version": 2}' * 20, "labels.txt": b"car\nbike\n"}


@pytest.fixture
def hef(tmp_path: Path) -> Path:
    path = tmp_path / "model.hef"
    path.write_bytes(write_hef(spec(), b"payload"))
    return path


def test_append_then_strip_gives_the_bytes_back(hef: Path, tmp_path: Path) -> None:
    original, appended, stripped = hef.read_bytes(), tmp_path / "a.hef", tmp_path / "s.hef"
    append_zip(hef, MEMBERS, appended)
    assert appended.read_bytes().startswith(original)
    assert read_container(appended).length == len(original)
    assert read_members(appended) == MEMBERS
    assert list(read_members(appended)) == list(MEMBERS)
    assert read_hef(appended).network_groups == read_hef(hef).network_groups
    strip(appended, stripped)
    assert stripped.read_bytes() == original
    assert hef.read_bytes() == original


def test_what_the_zip_looks_like(hef: Path, tmp_path: Path) -> None:
    appended = tmp_path / "a.hef"
    append_zip(hef, MEMBERS, appended)
    data, length = appended.read_bytes(), hef.stat().st_size
    assert data[length : length + 4] == b"PK\x03\x04"
    assert data[-22:-18] == b"PK\x05\x06"
    with zipfile.ZipFile(appended) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
        assert archive.start_dir + sum(46 + len(info.filename) for info in infos) + 22 == len(data)
    assert infos[0].header_offset == length
    for info in infos:
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert (info.external_attr >> 16, info.create_system, info.compress_type) == (0o100644, 3, zipfile.ZIP_STORED)
        assert (info.extra, info.flag_bits & 0x8) == (b"", 0)
    # Offsets in the directory count from the beginning of the file, not of the ZIP.
    directory = int.from_bytes(data[-6:-2], "little")
    assert data[directory : directory + 4] == b"PK\x01\x02"


def test_appending_again_replaces_also_in_place(hef: Path, tmp_path: Path) -> None:
    original, once = hef.read_bytes(), tmp_path / "once.hef"
    append_zip(hef, MEMBERS, once)
    append_zip(hef, {"other.txt": b"x" * 9999}, hef)
    append_zip(hef, MEMBERS, hef)
    assert hef.read_bytes() == once.read_bytes()
    strip(hef, hef)
    assert hef.read_bytes() == original
    strip(hef, hef)
    assert hef.read_bytes() == original
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.hef", "once.hef"]


def test_no_zip_no_members(hef: Path) -> None:
    assert read_members(hef) == {}


def test_a_hef_that_holds_a_zip_header_is_refused(tmp_path: Path) -> None:
    path, output = tmp_path / "a.hef", tmp_path / "b.hef"
    # Across the border of the pieces in which the file is read, too.
    for before in (5000, (1 << 20) - 4096 - 2):
        path.write_bytes(build_container(b"", bytes(before) + b"PK\x03\x04" + bytes(50)))
        assert contains_zip_signature(path)
        with pytest.raises(InputError, match="contains the bytes of a ZIP header"):
            append_zip(path, MEMBERS, output)
        assert not output.exists()
    path.write_bytes(build_container(b"", bytes(9000) + b"PK\x03PK\x04"))
    assert not contains_zip_signature(path)


def test_the_signature_of_the_appended_zip_does_not_count(hef: Path) -> None:
    append_zip(hef, MEMBERS, hef)
    assert not contains_zip_signature(hef)


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", ".", "..", "C:x", "a\nb", "\ud800", "n" * 256])
def test_names_that_break_readers_are_refused(name: str, hef: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="plain file name"):
        append_zip(hef, {name: b""}, tmp_path / "b.hef")


def test_too_many_or_no_members_are_refused(hef: Path, tmp_path: Path) -> None:
    for count in (0, MAX_MEMBERS + 1):
        with pytest.raises(InputError, match="1 to 64 files"):
            append_zip(hef, {f"{index}": b"" for index in range(count)}, tmp_path / "b.hef")


def test_what_cannot_be_written_is_an_input_error(hef: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        append_zip(hef, MEMBERS, tmp_path / "missing" / "b.hef")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        strip(hef, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "model.hef"]


def foreign(hef: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(hef, "a", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return hef


def test_a_zip_that_zipfile_appended_is_read(hef: Path) -> None:
    assert read_members(foreign(hef, {"a": b"x" * 5000, "b": b""})) == {"a": b"x" * 5000, "b": b""}


def test_a_zip_bomb_is_not_unpacked(hef: Path) -> None:
    foreign(hef, {"a": bytes(3000), "b": bytes(3000)})
    assert len(read_members(hef, 6000)) == 2
    with pytest.raises(InputError, match="more than 5999 bytes"):
        read_members(hef, 5999)


def test_too_many_members_are_not_read(hef: Path) -> None:
    foreign(hef, {f"m{index}": b"" for index in range(MAX_MEMBERS + 1)})
    with pytest.raises(InputError, match="at most 64"):
        read_members(hef)


def test_other_packings_are_refused(hef: Path) -> None:
    with pytest.raises(InputError, match="packed in a way"):
        read_members(foreign(hef, {"a": b"x"}, zipfile.ZIP_BZIP2))


def test_a_zip_glued_on_with_cat_is_refused(hef: Path, tmp_path: Path) -> None:
    glued = foreign(tmp_path / "glue.zip", {"a": b"x"}).read_bytes()
    hef.write_bytes(hef.read_bytes() + glued)
    with pytest.raises(InputError, match="do not count from the beginning"):
        read_members(hef)


def test_bytes_after_the_zip_are_refused(hef: Path) -> None:
    append_zip(hef, MEMBERS, hef)
    hef.write_bytes(hef.read_bytes() + b"\n")
    with pytest.raises(InputError, match="something follows the ZIP"):
        read_members(hef)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_zips_are_read_or_are_an_input_error(data: st.DataObject, tmp_path: Path) -> None:
    original = write_hef(spec(), b"payload", 1)
    path = tmp_path / "fuzz.hef"
    path.write_bytes(original)
    if data.draw(st.booleans()):
        foreign(path, {"a": b"text " * 40, "b": b""})
    else:
        append_zip(path, MEMBERS, path)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(len(original), len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(original), len(damaged))) if data.draw(st.booleans()) else len(damaged)
    path.write_bytes(damaged[:cut])
    with suppress(InputError):
        assert sum(map(len, read_members(path, 10_000).values())) <= 10_000


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_accepts_it(hef: Path) -> None:
    append_zip(hef, MEMBERS, hef)
    done = subprocess.run(["unzip", "-t", hef], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "No errors detected" in done.stdout


def levels(first: int, features: int, dim: str) -> list[dict[str, object]]:
    return [
        {
            "name": f"net/conv{first + index}",
            "shape": [1, size, size, features],
            "dshape": [{"batch": 1}, {"height": size}, {"width": size}, {dim: features}],
            "stride": 640 // size,
            "dtype": "uint8",
            "quantization": {"scale": 0.004, "zero_point": 0, "dtype": "uint8"},
        }
        for index, size in enumerate((80, 40, 20))
    ]


def test_edgefirst_finds_its_configuration(hef: Path) -> None:
    decoder = pytest.importorskip("edgefirst.decoder")
    document = {
        "schema_version": 2,
        "decoder_version": "yolov8",
        "nms": "class_agnostic",
        "input": {
            "shape": [1, 3, 640, 640],
            "dshape": [{"batch": 1}, {"num_features": 3}, {"height": 640}, {"width": 640}],
        },
        "outputs": [
            {
                "name": role,
                "type": role,
                "encoding": "dfl" if role == "boxes" else None,
                "shape": [1, features, 8400],
                "dshape": [{"batch": 1}, {dim: features}, {"num_boxes": 8400}],
                "outputs": levels(first, features, dim),
            }
            for role, features, dim, first in (("boxes", 64, "num_features", 1), ("scores", 2, "num_classes", 4))
        ],
    }
    append_zip(hef, {"edgefirst.json": json.dumps(document).encode(), "labels.txt": b"car\nbike\n"}, hef)
    config = decoder.resolve_model_config(hef)
    assert config.labels == ["car", "bike"]
    assert [output["name"] for output in config.schema["outputs"]] == ["boxes", "scores"]


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_files_append_and_strip(path: Path, tmp_path: Path) -> None:
    appended, stripped = tmp_path / "a.hef", tmp_path / "s.hef"
    shutil.copyfile(path, appended)
    append_zip(appended, MEMBERS, appended)
    assert read_members(appended) == MEMBERS
    assert read_hef(appended).network_groups == read_hef(path).network_groups
    strip(appended, stripped)
    assert stripped.read_bytes() == path.read_bytes()


def test_memory_stays_flat(tmp_path: Path) -> None:
    big, output = tmp_path / "big.hef", tmp_path / "out.hef"
    big.write_bytes(build_container(b"", bytes(100 << 20)))
    tracemalloc.start()
    try:
        append_zip(big, MEMBERS, output)
        read_hef(output)
        read_members(output)
        strip(output, output)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20
    assert output.stat().st_size == big.stat().st_size
