from __future__ import annotations

import json
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build_rules.errors import InputError
from build_rules.hef import (
    build_container,
    embed_zip,
    holds_zip_signature,
    read_hef,
    read_members,
    read_payload,
    strip,
    write_hef,
)
from build_rules.hef.container import SEAL_FIELD, open_hef, scan_container
from build_rules.hef.directory import MAX_MEMBERS
from build_rules.hef.members import zip_bytes
from build_rules.hef.writer import build_proto
from build_rules.protobuf import Message
from tests.hef import fuzz, hailort
from tests.hef.samples import EMBEDDINGS, REAL, container_of, spec
from tests.shared import needs_shared

MEMBERS = {"edgefirst.json": b'{"schema_version": 2}' * 20, "labels.txt": b"car\nbike\n"}


@pytest.fixture
def hef(tmp_path: Path) -> Path:
    path = tmp_path / "model.hef"
    path.write_bytes(write_hef(spec(), b"payload"))
    return path


def holds_signature(path: Path) -> bool:
    with open_hef(path) as stream:
        return holds_zip_signature(stream, scan_container(stream, str(path)))


def test_append_then_strip_gives_the_bytes_back(hef: Path, tmp_path: Path) -> None:
    original, appended, stripped = hef.read_bytes(), tmp_path / "a.hef", tmp_path / "s.hef"
    embed_zip(hef, MEMBERS, appended)
    assert appended.read_bytes().startswith(original)
    assert container_of(appended).length == len(original)
    assert read_members(appended) == MEMBERS
    assert list(read_members(appended)) == list(MEMBERS)
    assert read_hef(appended).network_groups == read_hef(hef).network_groups
    strip(appended, stripped)
    assert stripped.read_bytes() == original
    assert hef.read_bytes() == original


def test_what_the_zip_looks_like(hef: Path, tmp_path: Path) -> None:
    appended = tmp_path / "a.hef"
    embed_zip(hef, MEMBERS, appended)
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
    embed_zip(hef, MEMBERS, once)
    embed_zip(hef, {"labels.txt": b"x" * 9999}, hef)
    embed_zip(hef, MEMBERS, hef)
    assert hef.read_bytes() == once.read_bytes()
    strip(hef, hef)
    assert hef.read_bytes() == original
    strip(hef, hef)
    assert hef.read_bytes() == original
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.hef", "once.hef"]


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_what_somebody_else_put_there_is_not_lost(hef: Path, embedding: Literal["append", "sealed"]) -> None:
    with zipfile.ZipFile(hef, "a") as archive:
        archive.writestr("notes.md", "mine")
    before = hef.read_bytes()
    with pytest.raises(InputError, match=r"carries a ZIP with other files \('notes.md'\)"):
        embed_zip(hef, MEMBERS, hef, embedding)
    assert hef.read_bytes() == before


def test_bytes_after_the_end_that_are_no_zip(hef: Path) -> None:
    original = hef.read_bytes()
    hef.write_bytes(original + b"junk")
    for use in (lambda: read_members(hef), lambda: embed_zip(hef, MEMBERS, hef)):
        with pytest.raises(InputError, match="4 bytes follow the end of the HEF"):
            use()
    assert read_hef(hef).container.embedding == "unknown"
    strip(hef, hef)
    assert hef.read_bytes() == original


# Sealed.


def contents(version: int, aligned: bool) -> bytes:
    proto = build_proto(spec(), 5)
    ccws = bytes(range(256)) * 5 if version else b""
    if version != 3:
        return build_container(proto, ccws, version)
    more = b"more" if not aligned else b"m" * (4096 - len(ccws))
    data = build_container(proto, ccws, 3, more)
    assert (len(data) % 4096 == 0) == aligned
    return data


SEALABLE = [(0, False), (1, False), (2, False), (3, False), (3, True)]


@pytest.mark.parametrize(("version", "aligned"), SEALABLE)
def test_a_sealed_file_is_loaded_by_the_runtime_and_stripped_to_the_byte(
    version: int, aligned: bool, tmp_path: Path
) -> None:
    path, sealed, stripped = tmp_path / "a.hef", tmp_path / "b.hef", tmp_path / "c.hef"
    path.write_bytes(contents(version, aligned))
    embed_zip(path, MEMBERS, sealed, "sealed")
    data = sealed.read_bytes()
    assert (hailort.refusal(data, 4), hailort.refusal(data, 5)) == (None, None)
    assert len(data) % 4096 == 0 if aligned else True
    container = container_of(sealed)
    assert (container.embedding, container.length) == ("sealed", path.stat().st_size)
    assert container.ccws == container_of(path).ccws
    assert read_hef(sealed).network_groups == read_hef(path).network_groups
    assert read_payload(sealed) == read_payload(path)
    assert list(read_members(sealed).items()) == list(MEMBERS.items())
    with zipfile.ZipFile(sealed) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(MEMBERS)
    strip(sealed, stripped)
    assert stripped.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("version", "aligned"), SEALABLE)
def test_sealing_and_appending_replace_each_other(version: int, aligned: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    original = contents(version, aligned)
    path.write_bytes(original)
    results: dict[str, bytes] = {}
    for embedding in ("append", "sealed", "sealed", "append", "append"):
        kind: Literal["append", "sealed"] = "sealed" if embedding == "sealed" else "append"
        embed_zip(path, MEMBERS, path, kind)
        assert results.setdefault(embedding, path.read_bytes()) == path.read_bytes()
    assert results["append"].startswith(original)
    strip(path, path)
    assert path.read_bytes() == original


def test_the_runtime_refuses_what_is_appended(hef: Path) -> None:
    assert hailort.refusal(hef.read_bytes()) is None
    embed_zip(hef, MEMBERS, hef)
    assert hailort.refusal(hef.read_bytes(), 4) == "length"
    assert hailort.refusal(hef.read_bytes(), 5) is None  # its message has a checksum of its own


def test_readers_that_cut_at_the_zip_are_left_with_what_the_compiler_wrote(hef: Path) -> None:
    """As the EdgeFirst validator's runner does before it hands the file to the runtime."""
    original = hef.read_bytes()
    embed_zip(hef, MEMBERS, hef)
    data = hef.read_bytes()
    assert data[: data.find(b"PK\x03\x04")] == original
    assert hailort.refusal(original) is None


def test_the_message_of_a_sealed_version_0_is_a_message_still(tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(contents(0, False))
    embed_zip(path, MEMBERS, path, "sealed")
    assert Message(path.read_bytes()[32:], "a.hef").numbers[-1] == SEAL_FIELD


@pytest.mark.parametrize(("version", "aligned"), SEALABLE)
def test_what_follows_a_sealed_file_is_stripped_with_it(version: int, aligned: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    original = contents(version, aligned)
    path.write_bytes(original)
    embed_zip(path, MEMBERS, path, "sealed")
    sealed = path.read_bytes()
    for added in (b"junk", zip_bytes(MEMBERS, len(sealed))):
        path.write_bytes(sealed + added)
        assert container_of(path).embedding == "unknown"
        with pytest.raises(InputError, match="follow the end of the HEF"):
            read_members(path)
        strip(path, path)
        assert path.read_bytes() == original


def test_names_as_long_as_they_may_be(hef: Path, tmp_path: Path) -> None:
    strip(hef, tmp_path / ("n" * 251 + ".hef"))
    with pytest.raises(InputError, match="cannot be written"):
        strip(hef, tmp_path / ("n" * 256 + ".hef"))
    with pytest.raises(InputError, match="cannot be written"):
        strip(hef, hef / "x.hef")


def test_a_file_that_only_ends_like_a_sealed_one_is_not_one(tmp_path: Path) -> None:
    """The note may say anything: it counts only where the file is what sealing would have made."""
    path = tmp_path / "a.hef"
    proto = build_proto(spec(), 5)
    for noted in (0, 30, len(proto) + 28 + 60, 1 << 40):
        tail = zip_bytes(MEMBERS, 28 + len(proto) + 100, noted)
        path.write_bytes(build_container(proto, bytes(100) + tail, 1))
        assert container_of(path).embedding == "none"
        strip(path, tmp_path / "b.hef")
        assert (tmp_path / "b.hef").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("number", [0, 1, 31, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
@pytest.mark.parametrize("place", [-6, -10, -12, -14])
@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_a_directory_that_points_anywhere_breaks_nothing(version: int, place: int, number: int, tmp_path: Path) -> None:
    """Offset, length or count at the end of a sealed ZIP, and the offset of its first member."""
    path, output = tmp_path / "a.hef", tmp_path / "b.hef"
    path.write_bytes(write_hef(spec(), b"payload" if version else b"", version))
    embed_zip(path, MEMBERS, path, "sealed")
    data = bytearray(path.read_bytes())
    at = place if place != -14 else data.index(b"PK\x01\x02") + 42 - len(data)
    data[at : at + 4 or None] = number.to_bytes(4, "little")
    path.write_bytes(fuzz.repaired(data))
    for use in (read_hef, read_members, lambda path: strip(path, output), holds_signature):
        with suppress(InputError):
            use(path)
    with suppress(InputError):
        embed_zip(path, MEMBERS, output)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_members_lie_between_the_hef_and_the_directory(embedding: Literal["append", "sealed"], tmp_path: Path) -> None:
    path = tmp_path / "a.hef"
    path.write_bytes(write_hef(spec(), b"payload", 1))
    embed_zip(path, MEMBERS, path, embedding)
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    for place, number in ((42, len(data) - 100), (42, 28), (20, 1 << 20)):
        damaged = data.copy()
        damaged[second + place : second + place + 4] = number.to_bytes(4, "little")
        path.write_bytes(fuzz.repaired(damaged) if embedding == "sealed" else damaged)
        with pytest.raises(InputError, match="lies outside"):
            read_members(path)


def test_what_may_not_be_appended_may_be_sealed(tmp_path: Path) -> None:
    path, output = tmp_path / "a.hef", tmp_path / "b.hef"
    path.write_bytes(build_container(b"", bytes(5000) + b"PK\x03\x04" + bytes(50)))
    with pytest.raises(InputError, match='embed = "sealed"'):
        embed_zip(path, MEMBERS, output)
    embed_zip(path, MEMBERS, output, "sealed")
    assert read_members(output) == MEMBERS
    strip(output, output)
    assert output.read_bytes() == path.read_bytes()


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_files_sealed(path: Path, tmp_path: Path) -> None:
    sealed, stripped = tmp_path / "a.hef", tmp_path / "s.hef"
    embed_zip(path, MEMBERS, sealed, "sealed")
    assert hailort.refusal(path.read_bytes()) is None
    assert (hailort.refusal(sealed.read_bytes(), 4), hailort.refusal(sealed.read_bytes(), 5)) == (None, None)
    assert read_members(sealed) == MEMBERS
    assert read_hef(sealed).network_groups == read_hef(path).network_groups
    strip(sealed, stripped)
    assert stripped.read_bytes() == path.read_bytes()


def test_no_zip_no_members(hef: Path) -> None:
    assert read_members(hef) == {}


def test_a_hef_that_holds_a_zip_header_is_refused(tmp_path: Path) -> None:
    path, output = tmp_path / "a.hef", tmp_path / "b.hef"
    # Across the border of the pieces in which the file is read, too.
    for before in (5000, (1 << 20) - 4096 - 2):
        path.write_bytes(build_container(b"", bytes(before) + b"PK\x03\x04" + bytes(50)))
        assert holds_signature(path)
        with pytest.raises(InputError, match="contains the bytes of a ZIP header"):
            embed_zip(path, MEMBERS, output)
        assert not output.exists()
    path.write_bytes(build_container(b"", bytes(9000) + b"PK\x03PK\x04"))
    assert not holds_signature(path)


def test_the_signature_of_the_appended_zip_does_not_count(hef: Path) -> None:
    embed_zip(hef, MEMBERS, hef)
    assert not holds_signature(hef)


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", ".", "..", "C:x", "a\nb", "\ud800", "n" * 256])
def test_names_that_break_readers_are_refused(name: str, hef: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="plain file name"):
        embed_zip(hef, {name: b""}, tmp_path / "b.hef")


def test_too_many_or_no_members_are_refused(hef: Path, tmp_path: Path) -> None:
    for count in (0, MAX_MEMBERS + 1):
        with pytest.raises(InputError, match="1 to 64 files"):
            embed_zip(hef, {f"{index}": b"" for index in range(count)}, tmp_path / "b.hef")


def test_what_cannot_be_written_is_an_input_error(hef: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        embed_zip(hef, MEMBERS, tmp_path / "missing" / "b.hef")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is a folder"):
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
    embed_zip(hef, MEMBERS, hef)
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
        embed_zip(path, MEMBERS, path)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(len(original), len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(original), len(damaged))) if data.draw(st.booleans()) else len(damaged)
    path.write_bytes(damaged[:cut])
    with suppress(InputError):
        assert sum(map(len, read_members(path, 10_000).values())) <= 10_000


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_accepts_it(hef: Path) -> None:
    embed_zip(hef, MEMBERS, hef)
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
    embed_zip(hef, {"edgefirst.json": json.dumps(document).encode(), "labels.txt": b"car\nbike\n"}, hef)
    config = decoder.resolve_model_config(hef)
    assert config.labels == ["car", "bike"]
    assert [output["name"] for output in config.schema["outputs"]] == ["boxes", "scores"]


@needs_shared
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_files_append_and_strip(path: Path, tmp_path: Path) -> None:
    appended, stripped = tmp_path / "a.hef", tmp_path / "s.hef"
    shutil.copyfile(path, appended)
    embed_zip(appended, MEMBERS, appended)
    assert read_members(appended) == MEMBERS
    assert read_hef(appended).network_groups == read_hef(path).network_groups
    strip(appended, stripped)
    assert stripped.read_bytes() == path.read_bytes()


def test_memory_stays_flat(tmp_path: Path) -> None:
    big, output = tmp_path / "big.hef", tmp_path / "out.hef"
    big.write_bytes(build_container(b"", bytes(100 << 20)))
    tracemalloc.start()
    try:
        embed_zip(big, MEMBERS, output)
        read_hef(output)
        read_members(output)
        strip(output, output)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20
    assert output.stat().st_size == big.stat().st_size
