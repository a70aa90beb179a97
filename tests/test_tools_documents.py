"""Documents become text, as much as is asked for; what cannot be read is said in a sentence with a next step."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path

import hypothesis.strategies as st
import openpyxl
import pypdf
import pytest
from hypothesis import given

from ductor_lib.errors import DuctorError
from ductor_lib.tools.documents import Part, read_document
from ductor_lib.tools.faults import Unusable
from ductor_lib.tools.pdf import chosen, page_ranges
from tests.fakes import ROOT

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"


def file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def pdf(*pages: str) -> bytes:
    """A PDF with one line of text a page; an empty line is a page without text, as in a scan."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]  # fmt: skip
    for number, text in enumerate(pages):
        drawn = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET" if text else ""
        resources = "/Resources << /Font << /F1 3 0 R >> >> /MediaBox [0 0 595 842]"
        objects += [f"<< /Type /Page /Parent 2 0 R {resources} /Contents {5 + 2 * number} 0 R >>",
                    f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream"]  # fmt: skip
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


def locked(content: bytes, *, user: str, algorithm: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(content))
    writer.encrypt(user, "the owner's", algorithm=algorithm)
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


def docx(body: str, *, namespace: str = W, **more: str) -> bytes:
    """A Word document with this body; `more` are further parts, by name."""
    output = io.BytesIO()
    frame = f'<?xml version="1.0"?><w:x xmlns:w="{namespace}" xmlns:mc="mc">{{}}</w:x>'
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        for name, content in {"document": f"<w:body>{body}</w:body>", **more}.items():
            archive.writestr(f"word/{name}.xml", frame.format(content))
    return output.getvalue()


def p(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def row(*cells: str) -> str:
    return "<w:tr>" + "".join(f"<w:tc>{cell}</w:tc>" for cell in cells) + "</w:tr>"


def xlsx(fill: Callable[[openpyxl.Workbook], object]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "First"
    fill(book)
    output = io.BytesIO()
    book.save(output)
    return output.getvalue()


def read_in_child(path: Path, *, blocked: str, programs: Path | None = None, pages: str = "") -> str:
    """What another interpreter reads that lacks a package; its error, if it is one. PATH has only `programs`."""
    code = (
        "import sys, pathlib; sys.modules[sys.argv[1]] = None\n"  # Python's own way to say: there is no such module
        "from ductor_lib.errors import DuctorError\n"
        "from ductor_lib.tools.documents import Part, read_document\n"
        "try: print(read_document(pathlib.Path(sys.argv[2]), Part(pages=sys.argv[3])))\n"
        "except DuctorError as error: print('sentence:', error)\n"
    )
    variables = {"PATH": str(programs or ""), "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", code, blocked, str(path), pages]
    return subprocess.run(command, env=variables, stdout=subprocess.PIPE, encoding="utf-8", check=True, timeout=60).stdout


def refusal(path: Path) -> str:
    """The sentence that a file is refused with; empty when it is read."""
    try:
        read_document(path)
    except DuctorError as error:
        return str(error)
    return ""


# ── PDF ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pdf_is_read_page_by_page(tmp_path: Path) -> None:
    path = file(tmp_path, "letter.pdf", pdf("Dear Sir", "Yours"))

    document = read_document(path)

    assert document.text == "--- page 1 of 2 ---\nDear Sir\n--- page 2 of 2 ---\nYours"
    assert (document.kind, document.format, document.cut, document.notes) == ("document", "pdf", False, ())


def test_only_the_pages_asked_for_are_read(tmp_path: Path) -> None:
    path = file(tmp_path, "book.pdf", pdf(*"abcdef"))

    assert re.findall(r"^\w$", read_document(path, Part(pages="2-3,5-")).text, re.MULTILINE) == ["b", "c", "e", "f"]


def test_pages_that_are_not_there_are_named_with_their_number(tmp_path: Path) -> None:
    path = file(tmp_path, "book.pdf", pdf("a", "b"))

    with pytest.raises(Unusable, match="the document has 2 pages"):
        read_document(path, Part(pages="7-9"))


def test_a_scan_says_how_to_look_at_it(tmp_path: Path) -> None:
    document = read_document(file(tmp_path, "scan.pdf", pdf("", "")))

    assert "probably a scan" in document.notes[0]
    assert "pdftoppm -r 100 -png" in document.notes[0]


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_pdf_that_may_only_not_be_changed_is_read(tmp_path: Path, algorithm: str) -> None:
    path = file(tmp_path, "statement.pdf", locked(pdf("Balance"), user="", algorithm=algorithm))

    assert "Balance" in read_document(path).text


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_pdf_with_a_password_says_so(tmp_path: Path, algorithm: str) -> None:
    path = file(tmp_path, "private.pdf", locked(pdf("Secret"), user="x", algorithm=algorithm))

    with pytest.raises(DuctorError, match=r"protected by a password\. Ask for a copy without one"):
        read_document(path)


def test_a_broken_pdf_is_a_sentence_wherever_it_is_broken(tmp_path: Path) -> None:
    whole = pdf("Dear Sir", "Yours")

    refusals = [refusal(file(tmp_path, "cut.pdf", whole[:end])) for end in range(6, len(whole), 23)]

    assert [said for said in refusals if said and "damaged or not finished" not in said] == []


@given(st.binary(max_size=400))
def test_noise_behind_the_mark_of_a_pdf_is_a_sentence(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = file(tmp_path_factory.getbasetemp(), "noise.pdf", b"%PDF-1.7\n" + noise)

    with pytest.raises(DuctorError):
        read_document(path)


def test_a_huge_pdf_that_was_never_finished_is_refused_at_once(tmp_path: Path) -> None:
    path = file(tmp_path, "half.pdf", pdf("Dear Sir"))
    os.truncate(path, 1_000_000_000)

    with pytest.raises(DuctorError, match=r"not finished \(its end is missing\)"):
        read_document(path)


def test_without_a_reader_of_pdf_both_ways_to_get_one_are_named(tmp_path: Path) -> None:
    path = file(tmp_path, "letter.pdf", pdf("Dear Sir"))

    said = read_in_child(path, blocked="pypdf")

    assert "sentence:" in said
    assert f"{sys.executable} -m pip install 'pypdf[crypto]'" in said
    assert "sudo apt install poppler-utils" in said
    assert "brew install poppler" in said


def test_pdftotext_is_used_where_pypdf_is_missing(tmp_path: Path) -> None:
    program = file(tmp_path, "pdftotext", b'#!/bin/sh\nprintf "from %s\\fto %s\\f" "$4" "$6"\n')
    program.chmod(0o755)

    said = read_in_child(file(tmp_path, "letter.pdf", pdf("a")), blocked="pypdf", programs=tmp_path, pages="3-4")

    assert "'--- page 3 ---\\nfrom 3\\n--- page 4 ---\\nto 4'" in said


def test_what_pdftotext_complains_about_is_said(tmp_path: Path) -> None:
    path = file(tmp_path, "letter.pdf", pdf("a"))
    for complaint, sentence in [("Incorrect password", "protected by a password"), ("Wrong page range", "Wrong page range")]:
        file(tmp_path, "pdftotext", f'#!/bin/sh\necho "{complaint}" >&2\nexit 1\n'.encode()).chmod(0o755)

        assert sentence in read_in_child(path, blocked="pypdf", programs=tmp_path)


def test_pdftotext_is_tried_where_pypdf_gives_up(tmp_path: Path) -> None:
    file(tmp_path, "pdftotext", b'#!/bin/sh\nprintf "rescued\\f"\n').chmod(0o755)
    path = file(tmp_path, "cut.pdf", pdf("Dear Sir")[:200])

    assert "rescued" in read_in_child(path, blocked="nothing", programs=tmp_path)


def test_an_encrypted_pdf_without_the_package_for_it_names_the_package(tmp_path: Path) -> None:
    path = file(tmp_path, "statement.pdf", locked(pdf("Balance"), user="", algorithm="AES-256"))

    assert "-m pip install 'pypdf[crypto]'" in read_in_child(path, blocked="cryptography")


# ── ranges of pages ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "pages"),
    [("", [1, 2, 3, 4, 5]), ("2", [2]), ("2-3", [2, 3]), ("4-", [4, 5]), ("3, 1 - 2", [3, 1, 2]), ("1-3,2-4", [1, 2, 3, 4]), ("9", [])],
)
def test_ranges_choose_pages(text: str, pages: list[int]) -> None:
    assert chosen(page_ranges(text), 5) == tuple(pages)


@pytest.mark.parametrize("text", ["0", "a", "3-2", "-3", "1--2", "1-2-3", ",", "1,,2", "1.5", "٣", "0-2", "99999999", "1 2"])
def test_what_is_no_range_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Unusable, match=r"not a range of pages\. Write 3, 1-3, 5- or 1-3,7"):
        page_ranges(text)


RANGES = st.lists(st.tuples(st.integers(1, 60), st.none() | st.integers(0, 20)), min_size=1, max_size=5)


@given(RANGES, st.integers(0, 50))
def test_pages_are_those_of_the_ranges_and_of_the_document(ranges: list[tuple[int, int | None]], count: int) -> None:
    text = ",".join(f"{first}-" if more is None else f"{first}-{first + more}" for first, more in ranges)

    pages = chosen(page_ranges(text), count)

    meant = {page for first, more in ranges for page in range(first, 1 + (count if more is None else first + more)) if page <= count}
    assert set(pages) == meant
    assert len(pages) == len(meant)


@given(st.text(max_size=12))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        ranges = page_ranges(text)
    except Unusable:
        return
    assert all(1 <= first <= (last or first) for first, last in ranges)


# ── Word ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("namespace", [W, STRICT])
def test_a_word_document_is_read_with_headings_lists_and_tables(tmp_path: Path, namespace: str) -> None:
    styles = (
        '<w:style w:styleId="berschrift2"><w:name w:val="heading 2"/><w:pPr><w:numPr/></w:pPr></w:style>'
        '<w:style w:styleId="Liste"><w:name w:val="List Bullet"/><w:pPr><w:numPr/></w:pPr></w:style><w:style w:styleId="x"/>'
    )
    body = (
        p("Plan", '<w:pStyle w:val="berschrift2"/><w:numPr/>') + p("first", "<w:numPr/>") + p("next", '<w:pStyle w:val="Liste"/>')
        + p("Grüße &amp; Küsse")
        + f"<w:tbl>{row(p('a'), p('b') + p('c'))}{row(p('d'), '<w:tbl>' + row(p('e'), p('f')) + '</w:tbl>' + p(''))}</w:tbl>"
    )  # fmt: skip

    document = read_document(file(tmp_path, "plan.docx", docx(body, namespace=namespace, styles=styles)))

    assert document.text.splitlines() == ["## Plan", "- first", "- next", "Grüße & Küsse", "a | b c", "d | e | f"]


def test_tracked_changes_are_read_as_accepted_and_form_fields_are_not_lost(tmp_path: Path) -> None:
    run = "<w:r><w:t>{}</w:t></w:r>"
    body = (
        f"<w:p>{run.format('The ')}<w:del><w:r><w:delText>quick</w:delText></w:r></w:del><w:ins>{run.format('slow')}</w:ins>"
        f"<w:moveFrom>{run.format('GONE')}</w:moveFrom></w:p>"
        f"<w:sdt><w:sdtContent>{p('a field')}</w:sdtContent></w:sdt>"
        f"<w:p><w:hyperlink>{run.format('a link')}</w:hyperlink></w:p>"
    )

    assert read_document(file(tmp_path, "x.docx", docx(body))).text.splitlines() == ["The slow", "a field", "a link"]


def test_tabs_breaks_and_text_boxes_are_text_and_tab_stops_are_not(tmp_path: Path) -> None:
    box = f"<mc:Choice><w:txbxContent>{p('in the box')}</w:txbxContent></mc:Choice><mc:Fallback>{p('in the box')}</mc:Fallback>"
    body = (
        "<w:p><w:pPr><w:tabs><w:tab/><w:tab/></w:tabs></w:pPr><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>"
        f"<w:p><w:r>{box}</w:r><w:r><w:t>around it</w:t></w:r></w:p>"
    )

    assert read_document(file(tmp_path, "x.docx", docx(body))).text == "a\tb\nc\nin the box\naround it"


def test_headers_notes_and_comments_are_read_too(tmp_path: Path) -> None:
    content = docx(p("body"), header1=p("letterhead"), footnotes=p("see below"), comments=p("really?"))

    lines = read_document(file(tmp_path, "x.docx", content)).text.splitlines()

    assert lines == ["--- header ---", "letterhead", "body", "--- footnotes ---", "see below", "--- comments ---", "really?"]


def test_a_word_document_of_pictures_says_so(tmp_path: Path) -> None:
    document = read_document(file(tmp_path, "x.docx", docx(p(""))))

    assert "no text in this document" in document.notes[0]


def test_a_word_document_needs_no_package(tmp_path: Path) -> None:
    assert "'hello'" in read_in_child(file(tmp_path, "x.docx", docx(p("hello"))), blocked="docx")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused_since_its_entities_may_grow_without_end(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "bomb.docx"
    laughs = f'<?xml version="1.0"?><!--{"x" * 2_000_000}--><!DOCTYPE x [<!ENTITY a "ha">]><x>&a;</x>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", laughs.encode(encoding))

    with pytest.raises(DuctorError, match="declares a document type"):
        read_document(path)


@pytest.mark.parametrize("name", ["word/document.xml", "xl/workbook.xml"])
def test_what_would_unpack_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(1_234_567))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 1_234_567), struct.pack("<I", 1_000_000_000)))

    with pytest.raises(DuctorError, match="more than 200 MB when unpacked"):
        read_document(path)


def test_an_archive_that_lies_about_its_size_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(1_234_567))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 1_234_567), struct.pack("<I", 10)))

    with pytest.raises(DuctorError, match="damaged or not finished"):
        read_document(path)


def test_a_broken_office_file_is_a_sentence_wherever_it_is_broken(tmp_path: Path) -> None:
    whole = docx(p("hello"))

    places = range(4, len(whole), 7)
    broken = [*(whole[:place] for place in places), *(whole[:place] + b"\xff" + whole[place + 1 :] for place in places)]
    refusals = [refusal(file(tmp_path, "x.docx", content)) for content in broken]

    assert [said for said in refusals if said and not re.search("damaged or not finished|has to be unpacked", said)] == []


@given(st.text(st.sampled_from("<>/wptcr:= \"'a"), max_size=60))
def test_any_xml_in_a_word_document_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, noise: str) -> None:
    path = file(tmp_path_factory.getbasetemp(), "noise.docx", docx(noise))

    assert re.search(r"^$|damaged or not finished", refusal(path))


# ── Excel ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_workbook_is_read_as_csv_with_dates_and_sheets(tmp_path: Path) -> None:
    def fill(book: openpyxl.Workbook) -> None:
        book.active.append(["name", "when", "what, exactly", None])
        book.active.append(["Jörg", date(2026, 1, 31), 0.1 + 0.2, None])
        book.active.append([])
        book.active.append([None, datetime(2026, 1, 31, 12, 30), True])
        book.active.append([time(7, 5), 3, 2.50])
        book.create_sheet("Second").append(["x"])
        book["Second"].sheet_state = "hidden"

    document = read_document(file(tmp_path, "book.xlsx", xlsx(fill)))

    assert document.text.splitlines() == [
        "--- sheet 1 of 2: First ---", 'name,when,"what, exactly"', "Jörg,2026-01-31,0.3", ",2026-01-31T12:30:00,TRUE", "07:05:00,3,2.5",
        "--- sheet 2 of 2: Second (hidden) ---", "x",
    ]  # fmt: skip


def test_a_formula_without_a_stored_result_is_shown_itself(tmp_path: Path) -> None:
    path = file(tmp_path, "sum.xlsx", xlsx(lambda book: book.active.append([1, 2, "=SUM(A1:B1)"])))

    assert "1,2,=SUM(A1:B1)" in read_document(path).text


@pytest.mark.parametrize("wanted", ["Zweite", "2"])
def test_one_sheet_is_chosen_by_name_or_number(tmp_path: Path, wanted: str) -> None:
    path = file(tmp_path, "book.xlsx", xlsx(lambda book: book.create_sheet("Zweite").append(["x"])))

    assert read_document(path, Part(sheet=wanted)).text.splitlines() == ["--- sheet 2 of 2: Zweite ---", "x"]


@pytest.mark.parametrize("wanted", ["Dritte", "0", "3", "²"])
def test_a_sheet_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path, wanted: str) -> None:
    path = file(tmp_path, "book.xlsx", xlsx(lambda book: book.create_sheet("Zweite")))

    with pytest.raises(Unusable, match="It has: First, Zweite"):
        read_document(path, Part(sheet=wanted))


def test_a_sheet_that_claims_any_size_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    content = xlsx(lambda book: book.active.append(["x"]))
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name).replace(b'dimension ref="A1:A1"', b'dimension ref="A1:XFD1048576"').replace(b'r="1"', b'r="999999999"')
            new.writestr(name, data.replace(b'r="A1"', b'r="A999999999"'))

    assert read_document(path).text.splitlines()[0] == "--- sheet 1 of 1: First ---"


def test_without_a_reader_of_excel_the_package_is_named(tmp_path: Path) -> None:
    said = read_in_child(file(tmp_path, "book.xlsx", xlsx(lambda book: book.active.append([1]))), blocked="openpyxl")

    assert f"sentence: {tmp_path}/book.xlsx: reading Excel workbooks needs the Python package openpyxl" in said
    assert f"{sys.executable} -m pip install openpyxl" in said


# ── texts, and what is none ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_a_text_is_read_in_its_encoding(tmp_path: Path, encoding: str) -> None:
    path = file(tmp_path, "data.csv", "größe;wert\r\n1;2\r\n".encode(encoding))

    assert read_document(path).text == "größe;wert\n1;2"


def test_a_guess_is_called_one_and_can_be_corrected(tmp_path: Path) -> None:
    path = file(tmp_path, "letter.txt", "Привет, мир".encode("cp1251"))

    guessed, named = read_document(path), read_document(path, Part(encoding="cp1251"))

    assert "cp1252 is a guess" in guessed.notes[0]
    assert (named.text, named.notes) == ("Привет, мир", ())


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unusable, match="there is no such encoding"):
        read_document(file(tmp_path, "x.txt", b"hello"), Part(encoding=name))


def test_an_encoding_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DuctorError, match=r"not utf-8\. Leave --encoding out"):
        read_document(file(tmp_path, "x.txt", b"gr\xfc\xdfe"), Part(encoding="utf-8"))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=300), st.integers(1, 200))
def test_a_text_is_cut_exactly_and_says_so_only_then(tmp_path_factory: pytest.TempPathFactory, text: str, most: int) -> None:
    path = file(tmp_path_factory.getbasetemp(), "long.txt", f"{text}.".encode())

    document = read_document(path, Part(max_chars=most))

    assert document.text == f"{text}."[:most]
    assert document.cut == (len(text) + 1 > most)
    assert ("cut at" in " ".join(document.notes)) == document.cut


def test_a_cut_says_how_to_go_on(tmp_path: Path) -> None:
    book = file(tmp_path, "a.pdf", pdf("one", "two"))
    sheet = file(tmp_path, "a.xlsx", xlsx(lambda book: book.active.append(["x" * 50])))

    notes = [read_document(path, Part(max_chars=30)).notes[-1] for path in (book, sheet)]

    assert notes == [
        "cut at 30 characters; go on with --pages, or give --max-chars more",
        "cut at 30 characters; choose a --sheet, or give --max-chars more",
    ]


def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.log"
    with path.open("wb") as output:
        output.write(b"line\n" * 20_000)
        os.truncate(output.fileno(), 1_000_000_000)

    assert read_document(path).text == ("line\n" * 20_000)[:20_000]


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("photo.docx", b"\x89PNG\r\n\x1a\n", r"image \(png\) has no text in it\. Look at the picture"),
        ("voice.oga", b"OggS" + bytes(40), r"sound \(ogg\) is no document.*`ductor tool transcribe"),
        ("film.mp4", b"\0\0\0\x20ftypisom", r"video \(mp4\).*`ductor tool video"),
        ("a.zip", b"PK\3\4 and no end", r"archive \(zip\) has to be unpacked"),
        ("program", b"\x7fELF\2\1\1\0", r"no text, and no document that is known here\. `ductor tool file-info"),
        ("empty.pdf", b"", "the file is empty"),
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an older Office file, or one with a password.*--convert-to docx"),
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "--convert-to xlsx"),
        ("letter.rtf", b"{\\rtf1 hello}", "rtf is not read here.*--convert-to docx"),
    ],
)
def test_what_is_no_document_is_answered_with_what_helps(tmp_path: Path, name: str, content: bytes, advice: str) -> None:
    with pytest.raises(DuctorError, match=advice):
        read_document(file(tmp_path, name, content))


def test_a_presentation_and_an_e_book_say_what_helps(tmp_path: Path) -> None:
    for inside, advice in [("ppt/presentation.xml", "--convert-to pdf"), ("META-INF/container.xml", "Unpack it into a folder")]:
        with zipfile.ZipFile(tmp_path / "x", "w") as archive:
            archive.writestr(inside, "<x/>")

        with pytest.raises(DuctorError, match=advice):
            read_document(tmp_path / "x")


def test_binary_data_is_read_when_its_encoding_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, "dump", b"log\0\0\0line")

    assert read_document(path, Part(encoding="latin-1")).text == "log\0\0\0line"


def test_options_for_something_else_are_refused(tmp_path: Path) -> None:
    path = file(tmp_path, "x.txt", b"hello")

    for part, option in [(Part(pages="1"), "--pages is for PDF"), (Part(sheet="1"), "--sheet is for Excel")]:
        with pytest.raises(Unusable, match=option):
            read_document(path, part)
