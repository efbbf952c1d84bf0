"""`open_texts`: texts and labels as Python's csv and json modules have them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import HUNG_SECONDS

from sequence_loader import SparseBatchSequence, open_texts
from sequence_loader.rows.sources import RowSource
from sequence_loader.text import csv_records, json_records, records
from sequence_loader.text.csv_parser import parse_record
from sequence_loader.text.csv_records import CsvRecords
from sequence_loader.text.faults import Fault
from sequence_loader.text.files import FirstReading, Scratch, opened_files
from sequence_loader.text.records import Decoder, Seen
from sequence_loader.text.row_index import RowIndexBuilder

SMALL_BLOCKS = st.sampled_from([1, 2, 3, 7, 16, 64, 1 << 20])
"""Bytes that are read at once: line ends, quotes and letters fall on the edges."""

NASTY = st.text(st.sampled_from('a,"\'\n\r;\t é\\1\u2028\x0b𝄞'), max_size=12)


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.csv"):
        path = tmp_path / name
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return str(path)

    return write


@pytest.fixture(scope="module")
def scratch_path(tmp_path_factory):
    """One file for all examples of a property."""
    return tmp_path_factory.mktemp("texts") / "a.csv"


@pytest.fixture
def blocks(monkeypatch):
    def small(size):
        for module in (csv_records, json_records, records):
            monkeypatch.setattr(module, "BLOCK_BYTES", size)

    return small


def cleanly(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_texts(*args, **kwargs)


@settings(max_examples=150)
@given(
    rows=st.lists(st.tuples(st.sampled_from("123"), NASTY, NASTY), min_size=1),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from(",;\t"),
    quotechar=st.sampled_from("\"'"),
    start=st.sampled_from(["", "\ufeff"]),
    last=st.booleans(),
    size=SMALL_BLOCKS,
    data=st.data(),
)
def test_what_csv_writes_is_read_as_csv_reads_it(
    scratch_path, rows, quoting, ending, delimiter, quotechar, start, last, size, data
):
    out = io.StringIO(newline="")
    options = {"delimiter": delimiter, "quotechar": quotechar}
    csv.writer(out, quoting=quoting, lineterminator=ending, **options).writerows(rows)
    text = out.getvalue()
    if last and text.endswith(ending):
        text = text[: -len(ending)]
    scratch_path.write_bytes((start + text).encode())
    expected = list(csv.reader(io.StringIO(text, newline=""), **options))
    expected = [row for row in expected if row]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_records, "BLOCK_BYTES", size)
        patch.setattr(records, "BLOCK_BYTES", size)
        options |= {"header": False, "unescape": False, "joiner": "|"}
        options |= {"first_label": 1, "on_error": "skip", "max_record_bytes": 10**6}
        try:
            texts = cleanly(scratch_path, **options)
        except ValueError as error:
            assert "at least one row" in str(error) or "columns" in str(error)
            return
    good = [row for row in expected if len(row) == 3 and row[0].strip() in {*"123"}]
    if 2 * sum(len(row) == 3 for row in expected) > len(expected):
        assert list(texts) == [f"{title}|{text}" for _, title, text in good]
        assert texts.y.tolist() == [int(row[0]) - 1 for row in good]
        assert texts.num_skipped == len(expected) - len(good)
        some = data.draw(st.lists(st.integers(0, len(good) - 1), max_size=9))
        assert texts.read(np.array(some, np.int64)) == [list(texts)[i] for i in some]
        assert list(pickle.loads(pickle.dumps(texts))) == list(texts)


def found_records(path, quotechar, limit=10**6):
    files = opened_files([str(path)])
    form = CsvRecords(",", quotechar, True, limit, Decoder("utf-8"))
    found = list(form.blocks(FirstReading(files, 0), "a.csv", Seen()))
    rows = [row for block in found for row in block.records]
    starts = [start for block in found for start in block.starts]
    lines = [line for block in found for line in block.lines]
    return rows, starts, lines, form


@settings(max_examples=400)
@given(
    text=st.text(st.sampled_from('a,,""""\n\r é'), max_size=40),
    size=SMALL_BLOCKS,
    quoted=st.booleans(),
)
def test_any_text_has_the_records_that_csv_finds(scratch_path, text, size, quoted):
    """Also quotes within fields, behind fields, and never closed."""
    content = text.encode()
    scratch_path.write_bytes(content)
    options = {} if quoted else {"quoting": csv.QUOTE_NONE}
    reader = csv.reader(io.StringIO(text, newline=""), **options)
    expected, begins = [], [0]
    for row in reader:
        expected.append(row)
        begins.append(reader.line_num)
    with pytest.MonkeyPatch.context() as patch:
        for module in (csv_records, records):
            patch.setattr(module, "BLOCK_BYTES", size)
        rows, starts, lines, form = found_records(scratch_path, '"' if quoted else None)
    by_line = dict(zip(lines, range(len(rows))))
    # csv takes the end of the file for the end of a field; strictly, it does not.
    try:
        list(csv.reader(io.StringIO(text, newline=""), strict=True, **options))
        closed = True
    except csv.Error as error:
        closed = "unexpected end" not in str(error)
        if closed and expected:
            last = text.encode().splitlines(True)[begins[-2] :]
            last = [line.decode() for line in last]
            closed = parse_record(last, 0, ",", '"') is not None
    for row, begin in zip(expected, begins):
        if row:
            number = by_line[begin + 1]
            if row is expected[-1] and not closed:
                assert isinstance(rows[number], Fault)
                return
            assert rows[number] == row
            stop = [*starts, len(content)][number + 1]
            assert form.parsed([content[starts[number] : stop]]) == [row]
    assert len(rows) == sum(map(bool, expected))


@given(
    st.lists(
        st.fixed_dictionaries(
            {"text": NASTY, "label": st.sampled_from([1, "2", 3.0])},
            optional={"title": NASTY},
        ),
        min_size=1,
    ),
    st.sampled_from(["\n", "\r\n", "\n\n", " \n"]),
    st.booleans(),
    SMALL_BLOCKS,
)
def test_json_lines_are_read_as_json_reads_them(
    scratch_path, objects, ending, ascii_only, size
):
    path = scratch_path.with_name("a.jsonl")
    lines = [json.dumps(each, ensure_ascii=ascii_only) for each in objects]
    path.write_bytes(ending.join(lines).encode())
    with pytest.MonkeyPatch.context() as patch:
        for module in (json_records, records):
            patch.setattr(module, "BLOCK_BYTES", size)
        options = {"text_columns": ["text"], "label_column": "label"}
        texts = open_texts(path, **options)
    assert list(texts) == [each["text"] for each in objects]
    assert texts.y.tolist() == [int(each["label"]) - 1 for each in objects]


def test_a_json_line_is_read_across_returns_and_half_pairs(write):
    content = '{"label": "a", "text": "x"}\r\n\r{"label":\r"b", "text": "\\ud83d!"}'
    with pytest.warns(UserWarning, match="1 record with half of a surrogate pair"):
        texts = open_texts(write(content, "a.jsonl"))
    assert list(texts) == ["x", "\ufffd!"]
    assert texts.y.tolist() == [0, 1] and texts.class_names == ("a", "b")


FORMS = {
    "a header": ("label,title,description\n2,a,b\n1,c,d\n", ["a, b", "c, d"], [1, 0]),
    "columns in another order": ("Text,Class Index\nx,1\ny,2\n", ["x", "y"], [0, 1]),
    "a column too many": (",label,text\n0,1,x\n1,2,y\n", ["x", "y"], [0, 1]),
    "unknown names": ("kategori,metin\n1,x\n2,y\n", ["x", "y"], [0, 1]),
    "class and text": ('"1","x"\n"2","y"\n', ["x", "y"], [0, 1]),
    "escapes": ('2,"a\\nb \\""c\\"""\n1,x\n', ['a\nb "c"', "x"], [1, 0]),
    "lone backslashes": ("1,a\\bc\\nd\\e\n2,x\n", ["a\\bc\\nd\\e", "x"], [0, 1]),
    "a path": ("label,text\n1,C:\\new\\table\n2,x\n", ["C:\\new\\table", "x"], [0, 1]),
    "line ends as they are": (
        'label,text\n1,"a\nb"\n2,D:\\new\n', ["a\nb", "D:\\new"], [0, 1]
    ),
    "a mark, and returns": ("\ufeff1,x\r\n2,y", ["x", "y"], [0, 1]),
    "returns alone": ("1,x\r2,y\r", ["x", "y"], [0, 1]),
    "blank lines": ("\n1,x\n\r\n\n2,y\n\n\n", ["x", "y"], [0, 1]),
    "a blank in front": ('1, "x" y\n 2, z\n', [' "x" y', " z"], [0, 1]),
    "no text": ("1,,\n2,a,\n3,,b\n", [", ", "a, ", ", b"], [0, 1, 2]),
    "a long text": (f'1,x\n2,"{"é" * 150_000}"\n', ["x", "é" * 150_000], [0, 1]),
    "names that tell": (
        "id,label,comment_text\n5,1,x\n6,2,y\n", ["x", "y"], [0, 1]
    ),
    "numbers that are no texts": ("a,label,b\n5,2,x\n6,1,y\n", ["x", "y"], [1, 0]),
    "words of a header as a row": ("3,class,text\n1,x,y\n", ["class, text", "x, y"],
                                   [2, 0]),
    "from 0": ("0,x\n2,y\n", ["x", "y"], [0, 2]),
    "from 1, without it": ("3,x\n2,y\n", ["x", "y"], [2, 1]),
    "decimals": ("1.0,x\n2.0,y\n", ["x", "y"], [0, 1]),
    "names": ("spam,x\nham,y\n", ["x", "y"], [1, 0]),
    "the class in words": (
        "text,label,label_text\nx,1,neg\ny,0,pos\nz,1,neg\n", ["x", "y", "z"],
        [1, 0, 1],
    ),
    "a text called like a label": (
        "id,Sentiment,SentimentText\n1,0,x\n2,0,y\n3,1,z\n", ["x", "y", "z"],
        [0, 0, 1],
    ),
    "labels called like columns": (
        "y,Great article\nn,x\ny,z\n", ["Great article", "x", "z"], [1, 0, 1]
    ),
    "two forms of Unicode": (
        "caf\xe9,x\ncafe\u0301\u200b,y\nth\xe9,z\n", ["x", "y", "z"], [0, 0, 1]
    ),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("how", ["plain", "gzip"])
def test_forms_that_files_have(write, name, how):
    content, expected, y = FORMS[name]
    content = content.encode()
    if how == "gzip":
        content = gzip.compress(content)
    path = write(content)
    texts = open_texts(path)
    assert isinstance(texts, RowSource) and not texts.numeric
    assert list(texts) == expected
    assert texts[-1] == expected[-1] and texts[1:] == expected[1:]
    assert texts.y.tolist() == y and texts.y.dtype == np.int32
    again = open_texts(path, **json.loads(json.dumps(texts.settings)))
    assert list(again) == expected and again.y.tolist() == y
    assert again.class_names == texts.class_names


BROKEN = {
    "empty": (",,", "an empty record"),
    "blank": (" , ,\t", "an empty record"),
    "no label": (",a,b", "no label"),
    "no label, in words": ("nan,a,b", "no label, but 'nan'"),
    "blank label": (' ,"a",b', "no label"),
    "too few": ("1,a", "2 fields, where a record has 3"),
    "too many": ("1,a,b,c", "4 fields, where a record has 3"),
    "a NUL": ("1,a,b\0", "a NUL"),
    "too long": (f"1,a,{'b' * 2000}", "more than 1,000 bytes"),
    "too long, of lines": ('1,a,"' + "b\n" * 1000 + '"', "more than 1,000 bytes"),
    "another kind": ("one,a,b", "the label 'one', where others are class numbers"),
    "negative": ("-1,a,b", "the class number -1"),
    "an empty line of a wider table": (",,,,", "an empty record"),
    "marked": ("\ufeff1,a,b", "the mark that begins a file"),
    "a header again": ("label,title,text", "the header once more"),
}


@pytest.mark.parametrize("size", [1 << 20, 32])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_record_is_named_or_counted(write, blocks, name, size):
    blocks(size)
    line, reason = BROKEN[name]
    good = [f'{row % 3 + 1},t{row},"text\n{row}"' for row in range(8)]
    lines = ["label,title,text", *good[:5], line, *good[5:], line]
    path = write("\r\n".join(lines))
    first = 1 + 1 + 2 * 5
    options = {"max_record_bytes": 1000}
    with pytest.raises(ValueError, match=re.escape(f"a.csv, line {first}: ")) as raised:
        open_texts(path, **options)
    assert reason in str(raised.value) and "on_error='skip'" in str(raised.value)
    with pytest.warns(UserWarning, match=f"2 skipped .*{re.escape(reason)}") as warned:
        texts = open_texts(path, on_error="skip", **options)
    assert len(warned) == 1 and warned[0].filename == __file__
    last = first + len(line.splitlines()) + 2 * 3
    assert texts.num_skipped == 2 == sum(texts.skipped.values())
    assert [f"line {number}: " in said for number, said in zip(
        (first, last), texts.skipped_records)] == [True, True]
    assert list(texts) == [f"t{row}, text\n{row}" for row in range(8)]
    assert texts.y.tolist() == [row % 3 for row in range(8)]
    copy = pickle.loads(pickle.dumps(texts))
    assert copy.read(np.arange(7, -1, -1)) == texts[::-1]
    assert copy.skipped_records == texts.skipped_records


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [1 << 20, 32])
def test_a_record_that_took_in_others_gives_them_back(write, blocks, size, ending):
    """A quote that is not closed is closed by that of a later row."""
    blocks(size)
    rows = [f'{row % 2 + 1},"text {row}"' for row in range(9)]
    rows[4] = '1,"not closed'
    path = write(ending.join(rows))
    with pytest.raises(ValueError, match="line 5: .*looks like another record"):
        open_texts(path)
    texts = cleanly(path, on_error="skip")
    assert texts.num_skipped == 1
    assert list(texts) == [f"text {row}" for row in range(9) if row != 4]
    assert texts.y.tolist() == [row % 2 for row in range(9) if row != 4]
    # Asked for, it is read as csv does.
    exact = cleanly(path, quotechar='"', on_error="skip")
    assert list(exact)[4] == f'not closed{ending}2,text 5"'


NAMES = "ABCDEFGHIJKL"
BODIES = ["plain", "a, b", 'a "b" c', "two\nlines", 'ends "so"', "5\" wide", "", '""']


@given(
    bodies=st.lists(st.sampled_from(BODIES), min_size=3, max_size=12),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    delimiter=st.sampled_from(",\t"),
    ending=st.sampled_from(["\n", "\r\n"]),
    size=SMALL_BLOCKS,
    data=st.data(),
)
def test_no_row_gets_the_text_of_another_behind_one_that_is_broken(
    scratch_path, bodies, quoting, delimiter, ending, size, data
):
    """Each text says whose it is; one character is added somewhere, or lost."""
    options = {"delimiter": delimiter, "lineterminator": ending, "quoting": quoting}
    lines = []
    for row, body in enumerate(bodies):
        out = io.StringIO(newline="")
        csv.writer(out, **options).writerow([row % 3 + 1, f"<{NAMES[row]}> {body}"])
        lines.append(out.getvalue())
    broken = data.draw(st.integers(0, len(lines) - 1))
    line = lines[broken]
    at = data.draw(st.integers(0, len(line) - len(ending) - 1))
    added = data.draw(st.sampled_from(['"', delimiter, "\n", "\r", "\0", ""]))
    lines[broken] = line[:at] + added + line[at + (not added) :]
    content = f"label{delimiter}text{ending}" + "".join(lines)
    scratch_path.write_bytes(content.encode())
    with pytest.MonkeyPatch.context() as patch:
        for module in (csv_records, records):
            patch.setattr(module, "BLOCK_BYTES", size)
        options = {"first_label": 1, "delimiter": delimiter, "unescape": False}
        texts = cleanly(scratch_path, on_error="skip", **options)
    served = {}
    for text, label in zip(texts, texts.y.tolist()):
        for row in map(NAMES.index, re.findall("<([A-L])>", text)):
            assert row == broken or row not in served
            served[row] = text, label
    expected = {
        row: (f"<{NAMES[row]}> {body}", row % 3) for row, body in enumerate(bodies)
    }
    served.pop(broken, None), expected.pop(broken)
    assert served == expected


@given(
    text=st.text(st.sampled_from('a,,""\n\r é'), max_size=60),
    limit=st.integers(1, 12),
    size=SMALL_BLOCKS,
)
def test_records_that_are_too_long_are_left_out_whole(scratch_path, text, limit, size):
    content = text.encode()
    scratch_path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        for module in (csv_records, records):
            patch.setattr(module, "BLOCK_BYTES", size)
        whole = dict(zip(*found_records(scratch_path, '"')[2::-2]))
        rows, starts, lines, _ = found_records(scratch_path, '"', limit)
    assert lines == sorted(whole)
    for row, line, start, stop in zip(rows, lines, starts, [*starts[1:], len(content)]):
        record = content[start:stop].rstrip(b"\r\n")
        size = len(re.match(rb"(?s).{%d}(\r\n|\r|\n|$)" % len(record),
                            content[start:])[0])
        if isinstance(whole[line], Fault):
            assert isinstance(row, Fault)
        elif size > limit:
            assert row.kind == "too long"
        else:
            assert row == whole[line]


@pytest.mark.parametrize("limit", [1 << 24, 100])
def test_a_quote_that_is_never_closed_costs_its_line(write, blocks, limit):
    blocks(50)
    lines = [f"{row % 2 + 1},text {row}" for row in range(40)]
    lines.insert(7, '1,"never closed')
    path = write("\n".join(lines))
    with pytest.raises(ValueError, match="line 8: .*never closed"):
        open_texts(path, max_record_bytes=limit)
    texts = cleanly(path, on_error="skip", max_record_bytes=limit)
    assert list(texts) == [f"text {row}" for row in range(40)]
    assert texts.y.tolist() == [row % 2 for row in range(40)]
    assert texts.num_skipped == 1


def test_a_tsv_file_may_have_bare_quotes(write):
    """Read as csv does, they would take the next line in, label and all."""
    content = 'label\ttext\n1\t"never closed\n2\tsaid so"\n1\tplain\n'
    path = write(content, "a.tsv")
    with pytest.raises(ValueError, match="line 2: .*quotechar=None"):
        open_texts(path)
    bare = open_texts(path, quotechar=None)
    assert list(bare) == ['"never closed', 'said so"', "plain"]
    assert bare.y.tolist() == [0, 1, 0]
    exact = open_texts(path, quotechar='"')
    assert list(exact) == ["never closed\n2\tsaid so", "plain"]
    quoted = write('1\t"two\nlines"\n2\ty\n', "b.tsv")
    assert list(open_texts(quoted)) == ["two\nlines", "y"]


def test_bytes_of_another_encoding_are_replaced_and_counted(write):
    path = write("1,caf\xe9\n2,plain\n1,\x93so\x94\n".encode("latin-1"))
    with pytest.warns(UserWarning, match="2 lines with bytes .* utf-8.*line 1"):
        texts = open_texts(path)
    assert list(texts) == ["caf\ufffd", "plain", "\ufffdso\ufffd"]
    merged = write("\xe9t\xe9,x\n\xe0t\xe9,y\n".encode("latin-1"), "d.csv")
    with pytest.raises(ValueError, match="line 1: the label .* encoding='cp1252'"):
        open_texts(merged)
    assert open_texts(merged, encoding="latin-1").class_names == ("àté", "été")
    assert list(open_texts(path, encoding="cp1252")) == ["café", "plain", "“so”"]
    # Half a character takes neither the line end with it nor what follows.
    half = write(b"1,a\x820\n2,\"b\x82\n\xd6\xd0\"\n", "c.csv")
    texts = cleanly(half, encoding="gb18030")
    assert list(texts) == ["a\ufffd", "b\ufffd\n中"] and texts.y.tolist() == [0, 1]
    chinese = write("1,中文,“是”\n2,表,x\n".encode("gb18030"), "b.csv")
    assert open_texts(chinese, encoding="gb18030")[0] == "中文, “是”"


LABELS = [
    ("a;b\na;c", {"delimiter": ","}, [0, 1], ("a;b", "a;c")),
    ("1\n2", {}, [0, 1], ("1", "2")),
    ("2\n2", {}, [1, 1], ("1", "2")),
    ("2\n2", {"first_label": 0}, [2, 2], ("0", "1", "2")),
    ("2\n1", {"class_names": ["a", "b"]}, [1, 0], ("a", "b")),
    ("0\n1", {"class_names": ["a", "b"]}, [0, 1], ("a", "b")),
    ("1\n1", {"class_names": ["a", "b"], "first_label": 0}, [1, 1], ("a", "b")),
    ("1\n1", {"class_names": ["0", "1"]}, [1, 1], ("0", "1")),
    ("1\n1", {"class_names": ["1", "2"]}, [0, 0], ("1", "2")),
    ("-1\n+1", {"class_names": ["-1", "1"]}, [0, 1], ("-1", "1")),
    ("10\n9", {"first_label": None}, [0, 1], ("10", "9")),
    ("b\na", {}, [1, 0], ("a", "b")),
    (" b\nb ", {"class_names": ["c", "b"]}, [1, 1], ("c", "b")),
    ("\xe9\ne\u0301", {"class_names": ["e\u0301"]}, [0, 0], ("e\u0301",)),
    ("\xe9\ne\u0301", {"class_names": ["e\u0301", "\xe9"]}, [1, 0],
     ("e\u0301", "\xe9")),
]


@pytest.mark.parametrize("labels, options, y, names", LABELS)
def test_what_labels_become(write, labels, options, y, names):
    path = write("".join(f"{label},x\n" for label in labels.split("\n")))
    texts = open_texts(path, **options)
    assert (texts.y.tolist(), texts.class_names) == (y, names)
    # What was decided holds for a part that has one class alone.
    part = write(f"{labels.split()[-1]},x\n", "part.csv")
    assert open_texts(part, **texts.settings).y.tolist() == y[-1:]


def test_class_names_are_found_beside_the_files(write):
    write("World\r\nSports\r\n\n", "classes.txt")
    path = write("1,x\n1,y\n")
    texts = open_texts(path)
    assert texts.class_names == ("World", "Sports") and texts.y.tolist() == [0, 0]
    assert open_texts(path, class_names=None).class_names == ("1",)
    named = write("Sports,x\n", "b.csv")
    assert open_texts(named).y.tolist() == [1]
    with pytest.raises(ValueError, match="'Tech', which .*classes.txt.*_names=None"):
        open_texts(write("Tech,x\n", "c.csv"))


def test_class_numbers_that_may_count_from_0_are_said(write):
    path = write("1,x\n1,y\n")
    with pytest.warns(UserWarning, match="pass first_label=1 or first_label=0"):
        texts = open_texts(path, class_names=["bad", "good"])
    assert texts.y.tolist() == [0, 0]
    with pytest.raises(ValueError, match="0 .*line 2.* and 2 .*line 1.*_label=0"):
        open_texts(write("2,x\n0,y\n"), class_names=["bad", "good"], on_error="skip")


@pytest.mark.parametrize("escapes, undone", [(9, False), (10, True)])
def test_one_line_end_among_many_that_are_written_otherwise(write, escapes, undone):
    path = write('1,"a\n"\n' + "2,b\\nc\n" * escapes)
    assert open_texts(path)[1] == ("b\nc" if undone else "b\\nc")


@pytest.mark.parametrize("name", ["label_id", "categoryIndex", "TOPIC ID", "class_idx"])
def test_numbers_of_classes_are_labels(write, name):
    texts = open_texts(write(f"{name},text\n1,x a\n0,y b\n1,z c\n"), header=True)
    assert texts.y.tolist() == [1, 0, 1]


LONG = "a text that has more words than the name of a column"
REFUSED = [
    # Numbers that may be of rows, of users, or counts.
    ("user_id,text,score\n1,x,5\n2,y,5\n", {}, "cannot be told from the names"),
    ("userId,text\n1,x\n2,y\n", {}, "cannot be told from the names"),
    ("movie_id,review,verdict\n1,x,good\n2,y,bad\n", {}, "cannot be told from the n"),
    ("helpful,review,score\n1,x,5\n2,y,4\n", {}, "cannot be told from the names"),
    ("votes,review,verdict\n1,x,good\n2,y,bad\n", {}, "cannot be told from the names"),
    ("number,words\n1,x\n2,y\n", {}, "cannot be told from the names"),
    ("year,words\n2010,x\n2011,y\n", {}, "cannot be told from the names"),
    ("yid,text\n1,x\n2,y\n", {}, "cannot be told from the names"),
    (",text\n0,x\n1,y\n", {"header": True}, "cannot be told from the names"),
    ("1,x\n", {"label_column": 2}, r"`label_column` must be in \[-2, 2\)"),
    ("1,x\n", {"text_columns": "text"}, "by name only where the file has a header"),
    ("1,x\n", {"text_columns": 0}, "none of them the label"),
    ("1,x\n", {"label_column": True}, "number or the name"),
    ("label,text\n1,x\n", {"label_column": "class"}, "'class' is not among"),
    ("label,text,text\n1,x,y\n", {"text_columns": "text"}, "twice or more"),
    ("label,class,text\n1,2,x\n", {}, "cannot be told from the names"),
    ("one of us,and text\n1,x\n", {}, "header=True or header=False"),
    ("kategori,metin\nspor,x\nspor,y\n", {}, "header=True or header=False"),
    ("1;x\n2;y\n", {}, "delimiter="),
    ("sep=;\n1;x\n2;y\n", {"delimiter": ";"}, "sed -i 1d .*a.csv$"),
    ("sep=,\nid,text\n1,x\n", {"header": True, "label_column": None}, "sed -i 1d"),
    ("1,x\n", {"delimiter": '"'}, "must not be `quotechar`"),
    ("1,x\n", {"delimiter": "--"}, "one character"),
    ("1,x\n", {"encoding": "utf-16"}, "has ASCII in it"),
    ("1,x\n", {"encoding": "iso2022_jp"}, "has ASCII in it"),
    ("1,x\n", {"first_label": 2}, "`first_label` must be one of"),
    ("1,x\n", {"on_error": "ignore"}, "`on_error` must be one of"),
    ("1,x\n", {"format": "xml"}, "`format` must be one of"),
    ("1,x\n", {"class_names": ["a", "a"]}, "different names"),
    ("1,x\n", {"label_column": None, "class_names": ["a"]}, "needs labels"),
    ("\ufeff1,x\n", {"encoding": "cp1252"}, "mark of UTF-8"),
    ("", {}, "at least one row"),
    ("label,text\n", {}, "at least one row"),
    ("\xff\xfe1", {}, "UTF-16"),
    ("\xff\xfe\0\x001", {}, "iconv -f UTF-32"),
    ('1, "a, b"\n2, "c, d"\n', {}, "a blank before its quotes"),
    ('label,x,text\n1, "a, b"\n2, "c, d"\n', {}, "a blank before its quotes"),
    ("1,'a, b'\n2,'c, d'\n", {}, 'Pass quotechar="\'", or quotechar=None'),
    ("'1','a b'\n'2','c d'\n", {}, 'Pass quotechar="\'", or quotechar=None'),
    ("PK\x03\x04..", {}, "it is a zip file"),
    ("".join(f"label {row},x\n" for row in range(30)), {}, "Pass the column of"),
    ("".join(f"{row},x\n" for row in range(30)), {}, "Pass the column of"),
    ("1,b,c,d,e,f\n", {}, "`text_columns` must be given for 6 columns"),
    ("1;x\n", {}, "delimiter=';'"),
    ("a;x, y\nb;x, z\n", {}, "delimiter=';'"),
    ("y,text\nn,x\ny,z\n", {}, "header=True or header=False"),
    ("0,1,2\n1,a,b\n2,c,d\n", {}, "as pandas writes them.*header=True"),
    ("v1,v2,,\nham,x,,\nham,y,,\n", {}, "header=True or header=False"),
    ("My label,The text\nham,x\nham,y\n", {}, "header=True or header=False"),
    ('1,"a \\"b\\" c"\n2,x\n', {}, r'line 1: a quote within a field is written \\"'),
    ('1,x\n2,"a, \\"b\\", c\nd"\n', {}, "line 2: .*sed .*quotechar='\"'"),
    ("id;text\n1;x\n", {"label_column": None, "header": True}, "delimiter=';'"),
    ("1;x\n" * 10, {"label_column": None, "header": False}, "has texts.*delimiter=';'"),
    (f"Category,{LONG}\nham,x\nham,y\n", {}, "header=True or header=False"),
    (f"{LONG},Meinung\n" + "x,gut\ny,schlecht\n" * 10, {"label_column": 1},
     "labelled 'Meinung'.*header=True or header=False"),
]


NO_LABELS = {
    "header": [
        f"text\n{LONG}\n", "id,text\n1,x\n2,y\n", ",text\n0,x\n1,y\n",
        "Unnamed: 0,text\n0,x\n", "id,reviewText\n1,x\n2,y\n",
        f"title,text\na b,c: d!\nc,{LONG}\n", "text\n" + f"{LONG}; x\n" * 20,
        f"posttext\n{LONG}\n",
    ],
    "rows": [
        "".join(f"{LONG} {i};\n" for i in range(20)), f"{LONG}\nx\n", LONG, "1,x\n",
        f"17,Great\n18,{LONG}\n", "1,review 2\n2,x\n",
        f"2020-01-01 10:00,Great\n2020-01-02,{LONG}\n", "\u597d" * 50 + "\n\u4e0d\n",
    ],
    "asked": [
        "Review Text\nx\n", f"sms\n{LONG}\n", "Frage,Zusatz\nwas ist,das\n", "Frage\n",
        f"0\n{LONG}\n", f",0\n0,{LONG}\n1,x\n", "0\n5\nx\n", f"2020,text\n5,{LONG}\n",
        f"Customer Reviews\n{LONG}\n", f"Id,Customer Reviews\n7,{LONG}\n",
        f"Review?\n{LONG}\n", "\u8bc4\u8bba\n" + "\u597d" * 50 + "\n",
        "keyword\nhouse\ntree\n", "article\nhouse\ntree\n", "Question\nAnswer me\nb\n",
        f"Id,What did you like about our course?\n7,{LONG}\n8,x\n", f"Great!\n{LONG}\n",
        f"Timestamp,{LONG}\n2023/10/01 10:01:00 AM GMT+2,{LONG}\n",
        f"Nobody\n{LONG}\n", f"qid,{LONG}\n0000a16f,{LONG}\n", f"preview\n{LONG}\n",
    ],
}


@pytest.mark.parametrize(
    "content, what", [(each, what) for what in NO_LABELS for each in NO_LABELS[what]]
)
def test_without_labels_a_header_is_told_in_no_doubt_or_asked_for(write, content, what):
    path, rows = write(content), len(content.splitlines())
    for header in (True, False) if rows > 1 else (False,):
        told = open_texts(path, label_column=None, header=header)
        assert len(told) == rows - header
    if what == "asked":
        with pytest.raises(ValueError, match="header=True or header=False"):
            open_texts(path, label_column=None)
    else:
        texts = open_texts(path, label_column=None)
        assert len(texts) == rows - (what == "header")


def test_quotes_are_read_as_they_are_told(write):
    path = write("1,'a, b'\n2,'c, d'\n")
    assert open_texts(path, quotechar="'")[:] == ["a, b", "c, d"]
    assert open_texts(path, quotechar=None)[0] == "'a,  b'"
    path = write('1, "a, b"\n2, "c, d"\n')
    assert open_texts(path, quotechar='"')[0] == ' "a,  b"'
    # Quotes within texts are none of fields, whether one or two of them.
    path = write("1,'tis a,'b' 'n c'\n2,\"d 'e\",f\n1,5\" g,6\" h\n")
    assert len(open_texts(path)) == 3


def test_records_that_may_be_lost_in_another_are_said(write):
    path = write('1,a\n2,"b is 5\n1,c\n2,and d"\n1,e\n')
    with pytest.warns(UserWarning, match=r"1 record of several.*line 2: if its quote"):
        texts = open_texts(path)
    assert texts[:] == ["a", "b is 5\n1,c\n2,and d", "e"]
    # Lines that are none of records are not spoken of.
    path = write('1,a\n2,"b\nin 1, c\n3, d\n2"\n')
    assert "begins with a label" not in open_texts(path).described()


def test_quotes_behind_backslashes_are_read_once_mended(write, blocks):
    path = write('1,"a \\"b\\" c"\n2,"5\\" d, \\"e\\""\n')
    with pytest.raises(ValueError, match="sed") as raised:
        open_texts(path)
    command = re.search("sed '.*?'", str(raised.value))[0]
    mended = subprocess.check_output(f"{command} {path}", shell=True)
    texts = open_texts(write(mended, "b.csv"))
    assert list(texts) == ['a "b" c', '5" d, "e"']
    lines = ['1,"a \\"b\\"', '2,no row \\""', "2,x", '1,"c \\"d\\" e"', "1,y"]
    for size in (1 << 20, 8):
        blocks(size)
        texts = cleanly(write("\n".join(lines), "c.csv"), on_error="skip")
        assert list(texts) == ["x", "y"] and texts.num_skipped == 2


def test_keys_are_those_of_all_first_objects(write):
    lines = ['{"label": 1, "text": "x"}', '{"label": 2, "title": "t", "text": "y"}']
    path = write("\n".join(lines), "a.jsonl")
    with pytest.raises(ValueError, match="line 1: an object without the key 'title'"):
        open_texts(path)
    assert open_texts(path, text_columns="text")[:] == ["x", "y"]
    path = write('{"id": 7, "label": 1, "inhalt": "x", "more": [1]}\n', "b.jsonl")
    assert open_texts(path)[:] == ["x"]
    with pytest.raises(ValueError, match="'id', 'text'"):
        open_texts(write('{"id": 7, "text": "x"}\n', "c.jsonl"))


def test_dates_and_ids_are_no_texts(write):
    when = "2023/10/01 10:01:00 AM GMT+2"
    path = write(f"Zeitstempel,Nr,Frage,label\n{when},,{LONG},a\n{when},B7-1,x 1,b\n")
    texts = open_texts(path, header=True)
    assert texts.settings["text_columns"] == ["Frage"] and texts[:] == [LONG, "x 1"]


def test_a_text_that_may_say_the_label_is_named(write):
    rows = "".join(f"{1 + i % 2},{['hot', 'cold'][i % 2]},text {i}\n" for i in range(9))
    assert "(1,) may say the label" in open_texts(write(rows)).described()
    rows = "".join(f"{1 + i % 2},{i},text {i}\n" for i in range(9))
    assert "may say" not in open_texts(write(rows)).described()


@pytest.mark.parametrize("content", ["2 b\n1 a\n", "1\tb\n0\ta\n"])
def test_class_names_are_refused_that_are_numbered_in_another_order(write, content):
    write(content, "classes.txt")
    with pytest.raises(ValueError, match="in the order of the classes.*Sort them"):
        open_texts(write("1,x\n2,y\n"))
    write("".join(sorted(content.splitlines(True))), "classes.txt")
    assert open_texts(write("1,x\n2,y\n")).class_names[0][2:] == "a"


@pytest.mark.parametrize("content, options, match", REFUSED)
def test_what_does_not_fit_is_refused(write, content, options, match):
    encoding = "latin-1" if "\xff" in content else "utf-8"
    with pytest.raises((ValueError, TypeError), match=match):
        open_texts(write(content.encode(encoding)), **options)


def test_paths_that_are_none_are_refused(write, tmp_path):
    for paths, kind in [
        (tmp_path / "none.csv", FileNotFoundError),
        (str(tmp_path / "*.tsv"), FileNotFoundError),
        ([], ValueError),
        (tmp_path, ValueError),
        ([3], TypeError),
        (write("x", "a.txt"), ValueError),
        ([write("1,x", "a.csv"), write("{}", "a.jsonl")], ValueError),
        (write(gzip.compress(b"1,x\n")[:-9], "a.csv.gz"), ValueError),
    ]:
        with pytest.raises(kind, match=r"\. [A-Z].*\.$"):
            open_texts(paths)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match="must name files"):
        open_texts(tmp_path / "pipe.csv")


def test_several_files_are_one_source_in_the_order_of_their_numbers(write, tmp_path):
    write("label,text\n1,a\n", "part-1.csv")
    write("", "part-3.csv")
    write(gzip.compress(b"text,label\nb,2\nc,3\n"), "part-2.csv.gz")
    write("\ufefflabel,text\n2,d\n,\n", "part-10.csv")
    texts = cleanly(str(tmp_path / "part-*"), on_error="skip")
    assert [os.path.basename(path) for path in texts.paths] == [
        "part-1.csv", "part-2.csv.gz", "part-3.csv", "part-10.csv",
    ]
    assert list(texts) == ["a", "b", "c", "d"] and texts.y.tolist() == [0, 1, 2, 1]
    assert texts.read(np.array([3, 0, 2, 2])) == ["d", "a", "c", "c"]
    assert "part-10.csv, line 3: an empty record" in texts.described()
    cut = [write(f"text\n{LONG}\n", "a.csv"), write("Great\nI liked it\n", "b.csv")]
    assert open_texts(cut, label_column=None)[:] == [LONG, "Great", "I liked it"]
    cut = [write("id,text\n1,x\n", "a.csv"), write("Nr,Frage\n2,y\n", "b.csv")]
    with pytest.raises(ValueError, match="'text' is not among those of .*b.csv"):
        open_texts(cut, label_column=None)
    same = [write("Art,Meinung\ngut,x\ngut,y\n", f"{name}.csv") for name in "ab"]
    with pytest.raises(ValueError, match="labelled 'Art'.*header=True"):
        open_texts(same)
    assert open_texts(same, header=True, label_column=0)[:] == ["x", "y", "x", "y"]
    joined = [
        write("label,text\nb,x\n", "a.csv"),
        write("c,x\nlabel,text\nb,y\n", "b.csv"),
    ]
    with pytest.raises(ValueError, match="b.csv, line 2: the header once more"):
        open_texts(joined)
    with pytest.raises(ValueError, match="part-4.csv, line 1: 3 fields"):
        open_texts([write("1,x\n", "a.csv"), write("1,x,y\n", "part-4.csv")])
    with pytest.raises(ValueError, match="as many in all files"):
        open_texts(
            [write("1,x,y\n", "a.csv"), write("label,text\n1,x\n", "part-4.csv")]
        )


def test_a_file_that_changes_is_refused_and_one_that_is_touched_is_not(write, tmp_path):
    path = write("1,abc\n2,def\n")
    texts, other = open_texts(path), open_texts(path)
    sent = pickle.dumps(texts)
    times = os.stat(path)
    os.utime(path)
    assert texts[1] == "def" and pickle.loads(sent)[1] == "def"
    with open(path, "r+b") as file:  # in place, of the same size, with the same times
        file.write(b"2,abd")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    for each in (texts, other, pickle.loads(sent)):
        with pytest.raises(ValueError, match="a.csv has changed since it was opened"):
            each[0]
    texts = open_texts(path)
    os.rename(write("1,abc\n2,dex\n", "b.csv"), path)
    with pytest.raises(ValueError, match="has changed"):
        pickle.loads(pickle.dumps(texts))[0]
    texts = open_texts(path)
    os.truncate(path, 8)
    with pytest.raises(ValueError, match="has changed"):
        texts[1]


def test_it_is_pickled_by_path_and_found_again_where_its_maker_is_gone(
    write, monkeypatch
):
    path = write("b,x\n,y\na,z\n")
    packed = write(gzip.compress(b"a,1\nb,2\n"), "b.csv.gz")
    texts = cleanly([path, packed], on_error="skip")
    sent = pickle.dumps(texts)
    assert len(sent) < 4096
    near = pickle.loads(sent)
    monkeypatch.setattr(Scratch, "found", classmethod(lambda *_: None))
    far = pickle.loads(sent)  # says nothing again: a warning is an error here
    for copy in (near, far):
        assert list(copy) == ["x", "z", "1", "2"]
        assert copy.y.tolist() == [1, 0, 0, 1] and copy.class_names == ("a", "b")
        assert copy.described() == texts.described()
        assert list(pickle.loads(pickle.dumps(copy))) == list(texts)
    write(gzip.compress(b"a,1\nb,3\n"), "b.csv.gz")
    with pytest.raises(ValueError, match="b.csv.gz has changed"):
        pickle.loads(sent)


def test_what_is_unpacked_is_gone_with_the_process_however_it_ends(write, tmp_path):
    path = write(gzip.compress(b"1,x\n2,y\n" * 999), "a.csv.gz")
    folder = tmp_path / "temporary"
    folder.mkdir()
    code = (
        "import os, pickle, signal, sequence_loader\n"
        f"texts = sequence_loader.open_texts({path!r})\n"
        "assert pickle.loads(pickle.dumps(texts))[1997] == 'y'\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, timeout=HUNG_SECONDS)
    assert done.returncode == -9 and not any(folder.iterdir())


def lengths(block):
    """A transform: how long each text is, and what number it ends with."""
    ends = [int(text.rsplit(" ", 1)[1]) for text in block]
    return np.array([[len(text), end] for text, end in zip(block, ends)], "float32")


@pytest.mark.parametrize("packed", [False, True])
def test_worker_processes_and_threads_serve_what_one_thread_does(write, packed):
    lines = [f'{row % 4 + 1},"t{"é" * (row % 9)}\n", {row}' for row in range(500)]
    lines[77:77] = [",,", "1,x"]
    content = "\n".join(lines).encode()
    content = gzip.compress(content) if packed else content
    texts = cleanly(write(content), on_error="skip")
    options = {"batch_size": 32, "shuffle": True, "seed": 3, "transform": lengths}
    alone = SparseBatchSequence(texts, **options)
    for processes in (True, False):
        with SparseBatchSequence(
            texts, workers=2, use_multiprocessing=processes, **options
        ) as shared:
            for index in range(len(alone)):
                x, y = shared[index]
                rows = alone.batch_rows(index)
                assert (np.asarray(x)[:, 1] == rows).all()
                assert (np.asarray(y) == rows % 4).all()
                assert (np.asarray(x) == np.asarray(alone[index][0])).all()


def test_threads_share_it(write):
    texts = open_texts([
        write("".join(f"1,{part} {row}\n" for row in range(50)), f"{part}.csv")
        for part in range(40)  # more than are kept open
    ])
    wrong = []

    def read(seed):
        rows = np.random.default_rng(seed).integers(0, 2000, (60, 32))
        for some in rows:
            if texts.read(some) != [f"{row // 50} {row % 50}" for row in some]:
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(1, 2**33), st.booleans()), max_size=6),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 3),
)
def test_places_past_4_gib_are_kept_in_four_bytes(files, step):
    builder, expected = RowIndexBuilder(), []
    base = 0
    for number, (sizes, start) in enumerate(files):
        starts = start + np.concatenate([[0], np.cumsum([s for s, _ in sizes])])
        starts = starts.astype(np.int64)
        for at in range(0, len(sizes), step):
            first = builder.num_records
            builder.append(starts[:-1][at : at + step])
            for place, (_, good) in enumerate(sizes[at : at + step]):
                if not good:
                    builder.skip(first + place)
        builder.end_file(int(starts[-1]))
        for (_, good), begin, end in zip(sizes, starts, starts[1:]):
            if good:
                expected.append((number, base + begin, base + end))
        base += int(starts[-1])
    index, _ = builder.done()
    assert index.num_rows == len(expected) and index.low.itemsize == 4
    rows = np.arange(len(expected))[::-1]
    assert list(zip(*map(np.ndarray.tolist, index.spans(rows)))) == expected[::-1]


def test_a_limit_of_the_csv_module_changes_nothing(write):
    path = write('1,"a ""long"" text"\n2,' + "x" * 50)
    before = csv.field_size_limit(10)
    try:
        texts = open_texts(path)
        assert list(texts) == ['a "long" text', "x" * 50]
    finally:
        csv.field_size_limit(before)


def test_eight_bytes_a_row_are_kept(write):
    texts = open_texts(write("1,x\n2,y\n" * 5000))
    index = texts._scanned.index
    assert sum(array.nbytes for array in index) + texts.y.nbytes <= 8 * 10_000 + 64


def test_what_was_decided_is_said(write):
    texts = open_texts(write("class,title,text,id\n1,a,b,7\n3,,,8\n"))
    said = texts.described()
    for part in (
        "2 rows of ", "header: class, title, text, id", "texts: title, text",
        "class numbers from 1", "no row is of ['2']", "1 row with a label but no text",
    ):
        assert part in said
    assert len(texts) == 2 and "2 rows" in repr(texts)
    plain = open_texts(write("1,x\n"), label_column=None)
    assert plain.y is None and plain.class_names is None and plain[0] == "1, x"
    assert "label: none" in plain.described()


@pytest.mark.parametrize("head", ['5" text,label', '"5"" pi;pe",label', '5" a;b,label'])
def test_a_header_with_quotes_in_a_name_is_no_row(head, tmp_path):
    file = tmp_path / "train.csv"
    file.write_text(f"{head}\n5\" rain; x,1\n6\" snow; y,2\n7\" c; z,1\n")
    known = head.endswith("text,label")
    if not known:
        with pytest.raises(ValueError, match="header=True|delimiter"):
            open_texts(file)
    texts = open_texts(file, header=None if known else True)
    assert list(texts) == ['5" rain; x', '6" snow; y', '7" c; z']
    assert texts.y[:].tolist() == [0, 1, 0]
