"""A file that cannot be read as text is a mistake, and nothing hangs."""

import os
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from bncheck.config import textfile
from bncheck.config.mistake import Mistakes


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(path: str) -> str:
    mistakes = Mistakes()
    assert textfile.read(path, mistakes) is None
    return "\n\n".join(map(str, mistakes))


def write(content: bytes, name: str = "small.yaml") -> None:
    with open(name, "wb") as file:
        file.write(content)


def test_a_file_is_read_without_its_byte_order_mark_and_with_any_line_ends() -> None:
    write(b"\xef\xbb\xbfa: 1\r\nb: \xe4\xb8\x96\rc\n")
    mistakes = Mistakes()
    text = textfile.read("small.yaml", mistakes)
    assert text is not None
    assert text.lines == ("a: 1", "b: 世", "c", "")
    assert not mistakes


def test_a_missing_file_is_refused() -> None:
    assert refusal("small.yaml") == "error: small.yaml does not exist"


def test_a_missing_file_is_refused_with_the_nearest_config_in_its_folder() -> None:
    os.mkdir("in")
    for name in ("in/small.yaml", "in/other.yaml", "in/smal.txt"):
        write(b"", name)
    assert refusal("in/smal.yaml") == "error: in/smal.yaml does not exist; did you mean 'in/small.yaml'?"


@pytest.mark.parametrize("path", ["no/such/folder.yaml", "file.yaml/small.yaml"])
def test_a_missing_folder_is_refused(path: str) -> None:
    write(b"", "file.yaml")
    assert refusal(path) == f"error: {path} does not exist"


def test_a_folder_is_refused() -> None:
    os.mkdir("small.yaml")
    assert refusal("small.yaml") == "error: small.yaml is a folder, expected a file; name the file in it"


def test_a_pipe_is_refused_and_not_waited_for() -> None:
    os.mkfifo("pipe.yaml")
    thread = threading.Thread(target=lambda: answers.append(refusal("pipe.yaml")), daemon=True)
    answers: list[str] = []
    thread.start()
    thread.join(timeout=30)
    assert answers == ["error: pipe.yaml is a pipe or a device, expected a file; save it as a file first"]


def test_a_device_is_refused() -> None:
    assert refusal("/dev/zero") == ("error: /dev/zero is a pipe or a device, expected a file; save it as a file first")


def test_a_file_without_permission_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    write(b"")

    def closed(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", closed)
    assert refusal("small.yaml") == "error: small.yaml cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"], ids=["NUL", "half a pair"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    escaped = name.encode("unicode_escape").decode()
    assert refusal(name) == f"error: '{escaped}' cannot be the name of a file"


def test_a_name_that_is_too_long_is_refused() -> None:
    assert refusal("a" * 5000).endswith("cannot be read: File name too long")


def test_a_megabyte_is_read_and_one_byte_more_refused() -> None:
    write(b"#" * textfile.BYTES)
    assert textfile.read("small.yaml", Mistakes()) is not None
    write(b"#" * (textfile.BYTES + 1))
    assert refusal("small.yaml") == (
        "error: small.yaml is too long, a config is at most 1 MB; split it into several files"
    )


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(encoding: str) -> None:
    write("\ufeffa: 1".encode(encoding))
    assert refusal("small.yaml") == "error: small.yaml is UTF-16, expected UTF-8; save it as UTF-8"


@pytest.mark.parametrize(("mark", "position"), [(b"", 12), (b"\xef\xbb\xbf", 15)], ids=["without", "with a mark"])
def test_bytes_that_are_not_utf_8_are_refused_with_their_place(mark: bytes, position: int) -> None:
    write(mark + b"a: 1\r\nname: \xe9t\xe9\n")
    assert refusal("small.yaml") == (
        f"error: byte {position} is 0xe9, which is not UTF-8\n"
        "  --> small.yaml:2:7\n"
        "2 | name: \\xe9t\\xe9\n"
        "  |       ^^^^ save it as UTF-8"
    )
