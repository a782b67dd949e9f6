"""How plots look, and how they become files: matplotlib figures in, inline SVG and PNG out.

Colours are Okabe and Ito's, which colour-blind readers tell apart; wherever a colour means something, a shape, a line style or
a word says the same. An SVG names its colours by role, so that the page's style sheet chooses them for light and dark.
"""

import functools
import io
import re
import warnings
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

WIDTH = 5.0  # inches: 360 units, the width of a phone, so that text is as large as drawn there
COLOURS = {  # of the light theme; template.html holds those of the dark one
    "ink": "#1c2127",
    "muted": "#59636e",
    "grid": "#d4d9df",
    "paper": "#fefefe",
    "real": "#0072b2",
    "synthetic": "#c85200",
    "good": "#00795a",
    "fair": "#8a6100",
    "poor": "#a8380a",
}
GRADE_MARKERS = {"good": "o", "fair": "D", "poor": "X", None: "s"}
SETTINGS = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and is drawn in the reader's own fonts
    "text.parse_math": False,  # a column may be called "$price$"
    "axes.formatter.use_mathtext": False,
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.edgecolor": COLOURS["muted"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "grid.color": COLOURS["grid"],
    "figure.facecolor": COLOURS["paper"],
    "axes.facecolor": COLOURS["paper"],
}
PATCH = {"facecolor": COLOURS["paper"], "edgecolor": "none", "pad": 1}  # behind text that a line may cross
PNG_DPI = 160


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Attributes
    ----------
    name : str
        Of its file, without ending; one of a report's plots only.
    figure : matplotlib.figure.Figure
    title : str
        Stands above it; "" where the figure says it.
    alt : str
        What it shows, for those who do not see it.
    caption : str
    """

    name: str
    figure: Figure
    title: str
    alt: str
    caption: str = ""

    def png(self):
        """Bytes of a PNG in the colours of the light theme."""
        return _saved(self.figure, "png", self.name, dpi=PNG_DPI)

    def svg(self):
        """An ``<svg>`` element to stand in a page: no identifiers or styles that reach beyond it."""
        text = _saved(self.figure, "svg", self.name, transparent=True).decode("utf-8")
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
        text = re.sub(r'<g id="[^"]*">', "<g>", text)
        text = re.sub(r"<[^>]+>", lambda tag: _tidy(tag.group()), text)
        box = re.search('viewBox="([^"]*)"', text).group(1)
        opening = f'<svg viewBox="{box}" role="img" aria-label="{escape(self.alt)}">'
        return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1))


def _tidy(tag):
    """A tag of an SVG with two decimals instead of six, colours by role, and the page's own font."""
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
    tag = re.sub(r"font: (?:(?:normal|bold|\d00) )*([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    for role, colour in COLOURS.items():
        tag = tag.replace(colour, f"var(--{role})")
    return tag


def _saved(figure, form, salt, **options):
    buffer = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else None
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")  # the reader's browser has what matplotlib's font lacks
        figure.savefig(buffer, format=form, metadata=metadata, **options)
    return buffer.getvalue()


def drawn(draw):
    """Make a function draw in the report's style; matplotlib's settings are as before when it returns."""

    @functools.wraps(draw)
    def inside(*arguments, **options):
        with matplotlib.rc_context(SETTINGS):
            return draw(*arguments, **options)

    return inside


def canvas(height, columns=1, rows=1, **options):
    """``(figure, axes)`` of the report's width, and `height` inches high; no window, no global state."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def shortened(text, length=30):
    """`text` on one line, cut to `length` characters; what no file can hold, such as half a surrogate pair, becomes "?"."""
    text = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", str(text).encode("utf-8", "replace").decode("utf-8")).strip()
    return text if len(text) <= length else text[: length - 1] + "…"


def number(value):
    """ "0.123", "1.23", "12.3", "1,234": a float with about three digits; "" for NaN."""
    if value is None or value != value:
        return ""
    size = abs(value)
    return f"{value:.3f}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:,.0f}"
