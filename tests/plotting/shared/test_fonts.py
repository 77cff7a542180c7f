"""Names in any script: with installed fonts that have them, else with one warning."""

import dataclasses
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import pyplot as plt
from matplotlib.font_manager import fontManager

import amici_xr
from amici_xr.plotting.shared import fonts

DISTANCE = np.linspace(0, 10, 11)
RUNIC = ("ᚠᚢᚦ", "ᚨᚱᚲ", "B")  # which no usual font has


@pytest.fixture(autouse=True)
def default_font():
    with plt.rc_context({"font.family": ["DejaVu Sans"]}):
        yield


@pytest.fixture
def runic_tissue():
    return amici_xr.testing.simulate_dataset(RUNIC[0], cell_types=RUNIC)


@pytest.fixture
def without_runes(monkeypatch):
    """Whatever the machine has, DejaVu Sans is its only font."""
    entries = [entry for entry in fontManager.ttflist if entry.name == "DejaVu Sans"]
    monkeypatch.setattr(fontManager, "ttflist", entries)


@pytest.fixture
def with_runes(without_runes, tmp_path):
    """A font of boxes for these characters, installed for this test."""
    characters = sorted(set("".join(RUNIC[:2])))
    glyphs = [".notdef", *(f"rune{number}" for number in range(len(characters)))]
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for point in ((50, 700), (450, 700), (450, 0)):
        pen.lineTo(point)
    pen.closePath()
    box = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap(
        {ord(char): glyph for char, glyph in zip(characters, glyphs[1:], strict=True)}
    )
    builder.setupGlyf(dict.fromkeys(glyphs, box))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (500, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test Runes", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path / "runes.ttf"
    builder.save(path)
    fontManager.addfont(path)
    return path


def families(figure):
    return {tuple(text.get_fontfamily()) for text in figure.findobj(plt.Text) if text.get_text()}


@pytest.mark.parametrize("given", [False, True])
def test_an_installed_font_stands_in_for_characters_that_others_lack(
    runic_tissue, with_runes, given
):
    ax = plt.subplots()[1] if given else None
    before = dict(plt.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = runic_tissue.cf.plot_curve(0, DISTANCE, ax=ax).figure
        figure.canvas.draw()
        figure.savefig("curve.svg")
    assert families(figure) == {("DejaVu Sans", "Test Runes")}
    assert dict(plt.rcParams) == before


def test_without_such_a_font_one_warning_says_what_to_install(runic_tissue, without_runes):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        figure = runic_tissue.cf.plot_curve(0, DISTANCE).figure
        figure.canvas.draw()
        figure.savefig("curve.png", bbox_inches="tight")
    (warning,) = warned
    assert "no installed font has 'ᚠᚢᚦᚨᚱᚲ', which are drawn as empty boxes" in str(warning.message)
    assert "e.g. Noto Sans Runic" in str(warning.message)
    assert warning.filename == __file__
    figure.savefig("curve.svg")
    with open("curve.svg", encoding="utf-8") as file:
        assert RUNIC[1] in file.read()


@pytest.mark.parametrize(
    ("name", "font"),
    [
        ("神经元", "Noto Sans CJK"),
        ("ニューロン", "Noto Sans CJK"),
        ("신경", "Noto Sans CJK"),
        ("细胞（亚型）", "Noto Sans CJK"),
        ("microbe 🦠", "Noto Emoji"),
        ("⯊ phase", "Noto Sans Symbols"),
    ],
)
def test_one_font_is_named_for_all_characters_of_east_asia_and_for_symbols(
    name, font, without_runes
):
    with pytest.warns(UserWarning, match=rf"e\.g\. {font} \([^()]*\), then delete"):
        fonts.warn_of_missing(fonts.choose_fonts([name], ["DejaVu Sans"])[1])


@pytest.mark.parametrize("names", [["B cell"], ["µm, αβ T cell"], ["خلية"], ["Нейрон"]])
def test_characters_that_the_font_has_need_no_other(names, without_runes):
    assert fonts.choose_fonts(names, ["DejaVu Sans"]) == ([], set())


def test_a_family_that_is_not_installed_counts_as_the_default(without_runes):
    assert fonts.choose_fonts(["αβ"], ["No Such Font"]) == ([], set())


def test_a_file_that_is_not_a_font_has_no_characters(tmp_path):
    path = tmp_path / "broken.ttf"
    path.write_bytes(b"no font")
    assert fonts._characters_of_font(str(path)) == frozenset()


def test_preferred_fonts_come_first_and_fonts_of_boxes_never(monkeypatch):
    (entry,) = [entry for entry in fontManager.ttflist if entry.name == "DejaVu Sans"
                and entry.style == "normal" and entry.weight == 400][:1]  # fmt: skip
    names = ("A font", "Last Resort", "Noto Sans", "Noto Sans SC")
    entries = [dataclasses.replace(entry, name=name) for name in names]
    monkeypatch.setattr(fontManager, "ttflist", entries)
    assert [name for name, _ in fonts._installed_fonts()] == ["Noto Sans SC", "Noto Sans", "A font"]
