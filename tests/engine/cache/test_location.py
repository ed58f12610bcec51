"""What `cache = ...` may say, and that no password is ever repeated."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_rules.engine.cache.location import parse_limit, parse_location
from build_rules.errors import InputError


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("build/cache", "folder", "build/cache"),
        ("/mnt/nfs/cache", "folder", "/mnt/nfs/cache"),
        ("~/cache", "folder", str(Path.home() / "cache")),
        ("http://cache:8080", "http", "http://cache:8080"),
        ("http://cache:8080/", "http", "http://cache:8080"),
        ("https://cache.example/team/models/", "http", "https://cache.example/team/models"),
        ("http://[::1]:8080/x", "http", "http://[::1]:8080/x"),
        ("http://user:pa%2Fss@cache:8080/x", "http", "http://cache:8080/x"),
        ("s3://bucket/prefix/", "bucket", "s3://bucket/prefix"),
        ("gs://bucket", "bucket", "gs://bucket"),
        ("az://container/prefix", "bucket", "az://container/prefix"),
    ],
)
def test_places(text: str, kind: str, shown: str) -> None:
    location = parse_location(text)
    assert (location.kind, location.text, str(location)) == (kind, shown, shown)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("cache:8080", 'write "http://cache:8080"'),
        ("ftp://host/x", "begins with ftp://"),
        ("http://", "names no host"),
        ("http://host:port", "is no URL"),
        ("http://host:99999", "is no URL"),
        ("http://[::1", "is no URL"),
        ("http://host/?token=SECRET", "has a query"),
        ("http://host/#SECRET", "has a query"),
        ("http://ho st/", "has blanks"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://KEY:SECRET@bucket", "credentials"),
        ("s3://bucket?X-Amz-Signature=SECRET", "credentials"),
    ],
)
def test_impossible_places(text: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_location(text)
    assert what in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_credentials_in_the_address() -> None:
    location = parse_location("https://me:pass%20word%2F@cache.example")
    assert base64.b64decode(location.authorization.removeprefix("Basic ")) == b"me:pass word/"
    assert "pass" not in repr(location) + str(location)


def test_credentials_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_RULES_CACHE_USER", "ci")
    monkeypatch.setenv("BUILD_RULES_CACHE_PASSWORD", "geheim")
    location = parse_location("https://cache.example")
    assert base64.b64decode(location.authorization.removeprefix("Basic ")) == b"ci:geheim"
    assert "geheim" not in repr(location)
    assert parse_location("s3://bucket").authorization == ""


@given(
    st.sampled_from(["http", "https", "s3", "ftp", "htp"]),
    st.text(st.characters(codec="utf-8"), max_size=3),
    st.sampled_from(["host", "host:80", "host:x", "[::1", "", "host/a b"]),
)
def test_whatever_a_password_holds_it_is_not_repeated(scheme: str, spice: str, host: str) -> None:
    secret = f"Geheim{spice}nis"
    try:
        said = repr(parse_location(f"{scheme}://user:{secret}@{host}"))
    except InputError as error:
        said = f"{error} {error.__cause__!r}"
    assert "Geheim" not in said


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("20G", 20 << 30), ("1.5 T", 3 << 39), ("512k", 512 << 10), ("3MiB", 3 << 20), ("7GB", 7 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_limit(text) == size


@pytest.mark.parametrize("text", ["", "G", "0", "-1G", "1e9", "20X", "1G2", "٣G", "9" * 30])
def test_impossible_sizes(text: str) -> None:
    with pytest.raises(InputError, match="is not possible"):
        parse_limit(text)


@pytest.mark.parametrize(("text", "home"), [("~/cache", ""), ("~nobody-is-called-that/cache", "/home/somebody")])
def test_a_home_folder_that_nobody_knows_is_refused(text: str, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.raises(
        InputError, match=r"nobody knows the home folder of ~.* here; set HOME, or write the whole path"
    ):
        parse_location(text)
