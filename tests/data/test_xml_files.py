"""XML of any encoding, and what is refused."""

from pathlib import Path

import pytest

from eval_suite.core.errors import InputError
from eval_suite.data.xml_files import UNREADABLE, read_xml


def name_in(tmp_path: Path, content: bytes) -> str | None:
    file = tmp_path / "a.xml"
    file.write_bytes(content)
    return read_xml(file).findtext("name")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb2312", "shift_jis", "iso-2022-jp", "big5"])
def test_the_declared_encoding_counts(tmp_path: Path, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n<a><name>犬</name></a>'
    if encoding == "gb2312":
        text = text.replace("犬", "狗")
    assert name_in(tmp_path, text.encode(encoding)) == ("狗" if encoding == "gb2312" else "犬")


def test_a_byte_order_mark_counts_more_than_the_declaration(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="latin-1"?><a><name>über</name></a>'
    assert name_in(tmp_path, text.encode("utf-8-sig")) == "über"


@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="ansi-x"?>'])
def test_bytes_that_do_not_fit_are_marked_and_the_rest_is_read(tmp_path: Path, head: str) -> None:
    content = head.encode() + b"<a><folder>\xdcbung</folder><name>cat</name></a>"
    assert name_in(tmp_path, content) == "cat"
    assert name_in(tmp_path, content.replace(b"cat", b"c\xdct")) == f"c{UNREADABLE}t"


def test_namespaces_are_left_out(tmp_path: Path) -> None:
    assert name_in(tmp_path, b'<a xmlns="http://example.org/voc"><name>cat</name></a>') == "cat"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<a>",
        b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16"),
        b"<a>" + b" " * 1_000_001 + b"</a>",
    ],
)
def test_what_is_broken_or_could_do_harm_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.xml"):
        name_in(tmp_path, content)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_xml(tmp_path / "b.xml")
