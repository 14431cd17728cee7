"""What an alignment looks like, in a terminal and as a figure."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from dragoman.alignment.drawing import heatmap_svg, terminal_grid

SOURCE = ["European", "Economic", "Area"]
TARGET = ["zone", "économique", "européenne"]
WEIGHTS = [[0.0, 0.1, 0.9], [0.3, 0.5, 0.2], [0.75, 0.2, 0.05]]
LINKS = [(2, 0), (1, 1), (0, 2)]  # source word, target word
SVG = "{http://www.w3.org/2000/svg}"

WORDS = st.lists(st.text(min_size=1, max_size=16), max_size=8)


def test_grid_shades_weights_and_brackets_links() -> None:
    """
    Source words stand on top, target words on the left; the more attention, the more ink.
    """
    grid = terminal_grid(SOURCE, TARGET, WEIGHTS, LINKS, width=80, colour=False)

    expected = [
        "            E  E",
        "            u  c",
        "            r  o",
        "            o  n",
        "            p  o  A",
        "            e  m  r",
        "            a  i  e",
        "            n  c  a",
        "      zone  · ░░░[█]",
        "économique ▒▒▒[▓]▒▒▒",
        "européenne [█]▒▒▒░░░",
        "",
        "░ ≥ 0.05  ▒ ≥ 0.2  ▓ ≥ 0.4  █ ≥ 0.7  [ ] link",
    ]
    assert expected == grid.split("\n")


def test_grid_without_weights_shows_the_links() -> None:
    """
    A hard alignment has no weights: its links are drawn as if they were certain.
    """
    grid = terminal_grid(["a", "b"], ["x", "y"], [], [(0, 1)], width=20, colour=False)

    assert ["   a  b", "x  ·  ·", "y [█] ·"] == grid.split("\n")


def test_long_source_words_are_shortened() -> None:
    """
    A column is twelve rows high at most.
    """
    grid = terminal_grid(["Donaudampfschiff"], ["bateau"], [], [(0, 0)], width=60, colour=False)

    assert "Donaudampfs⋮" == "".join(line.strip() for line in grid.split("\n")[:12])


def test_grid_that_does_not_fit_becomes_a_list() -> None:
    """
    Where the columns are too many for the terminal, the links are listed, and wrapped.
    """
    source = [*SOURCE, "was", "signed"]

    lines = terminal_grid(source, TARGET, [], [*LINKS, (1, 0)], width=20, colour=False).split("\n")

    assert [
        "    zone ← Economic",
        "           Area",
        "économi… ← Economic",
        "europée… ← European",
    ] == lines


def test_words_without_links_are_listed_too() -> None:
    """
    A target word that comes from nowhere is still shown.
    """
    assert "un ← ·" == terminal_grid(SOURCE, ["un"], [], [], width=10, colour=False)


def test_colour_changes_no_character() -> None:
    """
    Colour only adds escape sequences: links bold, attention blue, the rest dim.
    """
    coloured = terminal_grid(SOURCE, TARGET, WEIGHTS, LINKS, width=80, colour=True)

    assert "\x1b[1;33m[█]\x1b[0m" in coloured
    for code in ("\x1b[1;33m", "\x1b[34m", "\x1b[2m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert terminal_grid(SOURCE, TARGET, WEIGHTS, LINKS, width=80, colour=False) == coloured


def test_words_cannot_command_the_terminal() -> None:
    """
    Control characters and changes of writing direction in a word are replaced, in every form.
    """
    for width in (80, 12):
        grid = terminal_grid(["a\x1b[31m\n"], ["\u202eb\x9b"], [], [(0, 0)], width=width, colour=False)

        assert not {"\x1b", "\u202e", "\x9b"} & set(grid)
        assert "\ufffdb\ufffd" in grid


def test_wide_characters_keep_columns_straight() -> None:
    """
    East Asian characters and emoji take two columns, combining marks none.
    """
    grid = terminal_grid(
        ["日本", "ab"], ["été", "e\u0301te\u0301", "語"], [], [(1, 1)], width=40, colour=False
    )

    assert ["     日 a", "     本 b", "été  ·  ·", "e\u0301te\u0301  · [█]", " 語  ·  ·"] == grid.split("\n")[
        :5
    ]


@given(WORDS, WORDS, st.integers(20, 100), st.booleans())
@settings(max_examples=150)
def test_grid_stays_within_the_width(source: list[str], target: list[str], width: int, linked: bool) -> None:
    """
    No line is wider than the terminal, whatever the words.
    """
    links = [(s, t) for s in range(len(source)) for t in range(len(target)) if linked]

    grid = terminal_grid(source, target, [], links, width=width, colour=False)

    assert all(cell_len(line) <= width for line in grid.split("\n"))


@pytest.mark.parametrize(
    ("weights", "links"),
    [([[0.5]], []), ([[0.1, 0.2, 0.3]] * 2, []), ([], [(3, 0)]), ([], [(0, 3)]), ([], [(-1, 0)])],
)
def test_refuses_what_belongs_to_other_words(
    weights: list[list[float]], links: list[tuple[int, int]]
) -> None:
    """
    A matrix of another size, or a link to a word that is not there, is an error and not a wrong figure.
    """
    with pytest.raises(ValueError, match=r"points outside|not a matrix"):
        terminal_grid(SOURCE, TARGET, weights, links, width=80, colour=False)
    with pytest.raises(ValueError, match=r"points outside|not a matrix"):
        heatmap_svg(SOURCE, TARGET, weights, links)


def test_figure_shows_words_weights_and_links() -> None:
    """
    The figure holds all words, one outline a link, and the exact weights as tool tips.
    """
    root = ElementTree.fromstring(heatmap_svg(SOURCE, TARGET, WEIGHTS, LINKS, title="An example"))

    texts = [text.text for text in root.iter(f"{SVG}text")]
    outlines = [rect for rect in root.iter(f"{SVG}rect") if rect.get("stroke") == "#f0720a"]
    tips = [title.text for rect in root.iter(f"{SVG}rect") for title in rect.iter(f"{SVG}title")]
    assert ["An example", *SOURCE, *TARGET, "attention 0", "1", "link"] == texts
    assert len(LINKS) + 1 == len(outlines)  # one explains the others
    assert "European → européenne: 0.75" in tips
    assert 8 == len(tips)  # a cell without attention needs no tool tip


def test_figure_is_the_same_every_time() -> None:
    """
    Equal alignments give equal bytes, whatever the order of the links.
    """
    assert heatmap_svg(SOURCE, TARGET, WEIGHTS, LINKS) == heatmap_svg(SOURCE, TARGET, WEIGHTS, LINKS[::-1])


def test_figure_stands_alone() -> None:
    """
    It loads nothing, runs nothing and names no other resource than its own namespace.
    """
    figure = heatmap_svg(SOURCE, TARGET, WEIGHTS, LINKS).replace("http://www.w3.org/2000/svg", "")

    assert not [word for word in ("http", "href", "url(", "@import", "<script") if word in figure]


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0, 1.5, -0.0])
def test_figure_bounds_weights(weight: float) -> None:
    """
    What is not a number counts as no attention; what is out of range as the nearest bound.
    """
    root = ElementTree.fromstring(heatmap_svg(["a"], ["b"], [[weight]], []))

    tips = [title.text for rect in root.iter(f"{SVG}rect") for title in rect.iter(f"{SVG}title")]
    assert tips == (["a → b: 1.00"] if weight > 1 else [])


@given(WORDS, WORDS, st.text(max_size=20))
@settings(max_examples=150)
def test_figure_is_always_xml(source: list[str], target: list[str], title: str) -> None:
    """
    Markup, control characters and lone surrogates in words do no harm.
    """
    links = [(s, t) for s in range(len(source)) for t in range(len(target))]

    figure = heatmap_svg([*source, "<&\"'\x00\ud800"], target, [], links, title=title)

    ElementTree.fromstring(figure.encode())


@given(st.lists(st.text("abcmwWM日é.", min_size=1, max_size=30), min_size=1, max_size=12))
@settings(max_examples=60)
def test_figure_has_room_for_its_labels(words: list[str]) -> None:
    """
    The grid lies within the figure, and longer words make it larger.
    """
    root = ElementTree.fromstring(heatmap_svg(words, words, [], []))

    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    grid = root.findall(f"{SVG}rect")[1]
    assert 0 < float(grid.attrib["x"]) < float(grid.attrib["x"]) + float(grid.attrib["width"]) < width
    assert 0 < float(grid.attrib["y"]) < float(grid.attrib["y"]) + float(grid.attrib["height"]) < height
