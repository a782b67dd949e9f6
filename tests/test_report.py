"""`report`: the first screen says what was found, the file stands alone, and nothing from the data gets out of its quotes."""

import io
import pickle
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from browser import look
from PIL import Image
from samplers import Copier
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

from augment_gen import ConditionalVAE
from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidTypeError, MissingExtraError
from augment_gen.evaluation import compare, evaluate, features
from augment_gen.evaluation.metrics import Figure
from augment_gen.report import report
from augment_gen.report.maps import column_plot
from augment_gen.report.pictures import class_strips
from augment_gen.report.words import advice, answers, shown_arms

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytestmark = pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning")  # of generators that were hardly trained

EVIL = '<script>alert("1")</script>'
COLUMNS = [
    EVIL,
    "\"quoted' & $x_1$ {{ 7 * 7 }}",
    "🧬 emoji",
    "عمود عربي",
    "long" * 100,
    'on"mouseover="alert(1)',
    "tab\there",
    "</svg>",
]
LABELS = ["<img src=x onerror=alert(1)>", "בריא ‮(rtl)"]


class Page(HTMLParser):
    """What a test looks at in a page: its elements, their attributes, and its text."""

    VOID = {"meta", "link", "img", "br", "path", "use", "rect", "circle", "line"}

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.open, self.words = [], [], []
        self.feed(self.source)
        assert not self.open, f"not closed: {self.open}"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID or tag in {"path", "use", "rect"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, text):
        if not self.open or self.open[-1] != "style":
            self.words.append(text)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


# ------------------------------------------------------------------ what is reported on
@pytest.fixture(scope="module")
def table():
    """A table whose names are out to do harm: training part, generator, and both results."""
    data = load_breast_cancer()
    X = pd.DataFrame(data.data[:, : len(COLUMNS)], columns=COLUMNS)
    X["<b>word</b>"] = np.where(X[EVIL] > 14, "<i>", "&amp;")
    y = pd.Series(np.where(data.target == 0, *LABELS), name="</table>")
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    generator = ConditionalVAE(max_steps=60, random_state=0, device="cpu").fit(X, y)
    generation = evaluate(generator, X_test, y_test, X_train=X, y_train=y, random_state=0)
    numeric = X[COLUMNS].set_axis(range(len(COLUMNS)), axis=1)
    arms = {f"ConditionalVAE {EVIL}": ConditionalVAE(max_steps=10, device="cpu")}
    comparison = compare(arms, GaussianNB(), numeric, y, cv=3, n_repeats=1, inner_cv=2, amounts=(0.5, 1.0))
    return X, y, generator, generation, comparison


@pytest.fixture(scope="module")
def pictures():
    """Digits of three classes, of which one is rare."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "N_STEPS", 60)
        digits = load_digits(n_class=3)
        keep = np.flatnonzero((digits.target != 1) | (np.cumsum(digits.target == 1) <= 40))
        X, y = (digits.images[keep] * 15).astype(np.uint8), digits.target[keep]
        X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
        generator = ConditionalVAE(max_steps=60, random_state=0, device="cpu").fit(X, y)
        return X, y, generator, evaluate(generator, X_test, y_test, X_train=X, y_train=y, random_state=0, device="cpu")


@pytest.fixture(scope="module")
def table_page(table, tmp_path_factory):
    X, y, generator, generation, comparison = table
    folder = tmp_path_factory.mktemp("report")
    report(
        folder / "table.html", generation=generation, comparison=comparison, generator=generator, X_train=X, y_train=y,
        title=EVIL, intended_use=f"{EVIL} {{{{ 7 * 7 }}}}", limits=["None & <b>nothing</b>"], plots=folder / "plots",
    )  # fmt: skip
    return folder / "table.html"


@pytest.fixture(scope="module")
def image_page(pictures, tmp_path_factory):
    X, y, generator, generation = pictures
    path = tmp_path_factory.mktemp("report") / "images.html"
    return report(path, generation=generation, generator=generator, X_train=X, y_train=y)


def written(tmp_path, **found):
    return Page(report(tmp_path / "report.html", **found))


# ------------------------------------------------------------------ the first screen
def contrast(comparison, **changes):
    """The comparison with another outcome."""
    known = {"difference": 0.05, "low": 0.01, "high": 0.09, "to_none_low": 0.02, "word": "helps"}
    return replace(comparison, contrasts=(replace(comparison.contrasts[0], **{**known, **changes}),))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Yes: they help."),
        ({"word": "no measurable gain", "low": -0.02, "high": 0.03}, "No need to: no measurable gain."),
        (
            {"word": "no measurable gain", "low": -0.3, "high": -0.01, "against": "class weights"},
            "No: class weights does better.",
        ),
        ({"word": "harms"}, "No: they harm."),
        ({"word": "failed", "error": "ValueError: <b>"}, "Cannot be said: the comparison failed."),
    ],
)
def test_the_first_screen_says_what_compare_found(table, tmp_path, changes, said):
    page = written(tmp_path, comparison=contrast(table[-1], **changes))
    assert said in page.text and page.text.index(said) < page.text.index("Does it help?")


def test_the_first_screen_says_what_evaluate_found(table, tmp_path):
    generation = table[3]
    for level, said in [
        ("good", "They are good"),
        ("fair", "With care"),
        ("poor", "No: they are poor"),
        ("unclear", "Cannot be"),
    ]:
        result = replace(generation, judgement=replace(generation.judgement, level=level))
        page = written(tmp_path, generation=result)
        assert said in page.text and "Not measured" in page.text


def test_copies_come_first(table, tmp_path):
    X, y, _, _, comparison = table
    X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=150, test_size=100, stratify=y, random_state=0)
    copied = evaluate(Copier(X_train, y_train), X_test, y_test, X_train=X_train, y_train=y_train, random_state=0)
    page = written(tmp_path, generation=copied, comparison=contrast(comparison), X_train=X_train, y_train=y_train)
    assert "Not as they are: there are signs of copies." in page.text and "Yes: they help." not in page.text
    assert f"{X.shape[1]} of {X.shape[1]}" in page.text, "the gallery counts equal cells"


def test_rows_that_leak_but_are_no_copies_may_still_help(table):
    _, _, _, generation, comparison = table
    said = ("Good: so it is.", "Membership leaks: an attack works.", "Caution: training rows differ.")
    result = replace(generation, judgement=replace(generation.judgement, copies=True, sentences=said))
    found = advice(result, contrast(comparison))
    assert found.word == "Yes: they help." and "Keep them where the training rows may be" in found.text
    assert "Caution: training rows differ." in answers(result, comparison)[1].text


def test_the_generators_own_arm_is_what_the_first_screen_is_about(table):
    comparison = table[4]
    other = replace(comparison.contrasts[0], arm="another", word="helps", difference=0.5, low=0.4, high=0.6)
    mine = replace(comparison.contrasts[0], word="no measurable gain", low=-0.1, high=0.1)
    both = replace(comparison, contrasts=(other, mine))
    assert advice(None, both, "ConditionalVAE").word == "No need to: no measurable gain."
    assert advice(None, both).word == "Yes: they help."


def test_scores_of_which_less_is_better_are_turned_round(table):
    X, y, *_ = table
    result = compare(
        {"vae": ConditionalVAE(max_steps=5, device="cpu")}, GaussianNB(), X[COLUMNS].to_numpy(), y, cv=3, n_repeats=1,
        inner_cv=None, scoring="brier",
    )  # fmt: skip
    arms = shown_arms(result)
    assert arms["score"].is_monotonic_increasing and arms.attrs["reference"] == arms[arms["kind"] == "baseline"].index[0]
    assert np.isnan(arms.loc[arms.attrs["reference"], "low"])
    others = arms.drop(arms.attrs["reference"])
    assert ((others["low"] <= others["score"]) & (others["score"] <= others["high"])).all()


# ------------------------------------------------------------------ the file
@pytest.mark.parametrize("name", ["table_page", "image_page"])
def test_the_file_stands_alone_and_is_sound(name, request):
    path = request.getfixturevalue(name)
    page = Page(path)
    assert path.stat().st_size < 5e6
    assert not page.all("script") and not page.all("iframe")
    addresses = [a[key] for _, a in page.elements for key in ("src", "href", "xlink:href") if key in a]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"url\((?!#)|@import", page.source)
    assert "default-src 'none'" in page.source and "width=device-width" in page.source
    assert page.all("html")[0]["lang"] == "en" and "trainedAlgorithmicMedia" in page.text
    ids = [a["id"] for _, a in page.elements if "id" in a]
    headings = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    assert set(headings) <= set(ids) and not [one for one in ids if ids.count(one) > 1 and one in headings]
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("aria-label") and a["role"] == "img" for a in page.all("svg"))
    assert len(page.all("table")) == len(page.all("caption")) > 0
    assert all("scope" in a for a in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and max(np.diff(levels)) <= 1


def test_nothing_of_the_data_gets_out_of_its_quotes(table_page):
    page = Page(table_page)
    assert EVIL in page.text and LABELS[0] in page.text and "{{ 7 * 7 }}" in page.text and "🧬 emoji" in page.text
    assert EVIL not in page.source and "49" not in page.all("title") and "<b>nothing" not in page.source
    assert not [a for _, a in page.elements if any(key.startswith("on") for key in a)]
    assert not page.all("b") and not page.all("i")
    assert all(a["src"].startswith("data:image/png;base64,") for a in page.all("img"))


def test_sections_of_a_table(table_page):
    page = Page(table_page)
    for said in ("Does it help?", "Columns, the worst first", "Pairs of columns, the worst first", "Map of the columns",
                 "Map of the generator's latents", "The synthetic rows nearest to training rows", "Training curves",
                 "How each class is drawn, and what is rejected", "Model card", "SHA-256", "all arms".capitalize(),
                 "Score by amount of synthetic rows", "What is taken for what"):  # fmt: skip
        assert said in page.text, said


def test_sections_of_images(image_page):
    page = Page(image_page)
    alts = [a["alt"] for a in page.all("img")]
    strips = [alt for alt in alts if re.match(r"8 (real|synthetic) images of class", alt)]
    assert [alt[-1] for alt in strips[:2]] == ["1", "1"] and len(strips) == 6, "the rarest class comes first"
    assert sum(alt.startswith("training image number") for alt in alts) == 36
    assert "Map of image features" in page.text and "real, of 30" in page.text


def test_columns_of_every_kind_can_be_drawn(mixed):
    X, _ = mixed
    for place, name in enumerate(X):
        assert column_plot(name, X[name], X[name].iloc[:0], place).figure.axes[0].get_title(loc="left") == name
        assert column_plot(name, X[name], X[name].iloc[::2], place).svg().count("<path") > 3, name


def test_plots_go_to_a_folder_as_well(table_page):
    files = sorted(path.name for path in (table_page.parent / "plots").iterdir())
    assert {"comparison.png", "quality.png", "training.png", "pairs.png", "map-features.png", "column-1.png"} <= set(files)
    for name in files:
        with Image.open(table_page.parent / "plots" / name) as image:
            assert image.width == 800 and np.asarray(image.convert("L")).std() > 5, name


def test_either_result_is_enough(table, tmp_path):
    _, _, _, generation, comparison = table
    assert "Are they copies?" not in written(tmp_path, comparison=comparison).text
    page = written(tmp_path, generation=generation)
    assert "All arms" not in page.text and "nearest to training rows" in page.text, "without X_train, too"


def test_real_rows_can_be_left_out(pictures, table, tmp_path):
    X, y, generator, generation = pictures
    page = written(tmp_path, generation=generation, generator=generator, X_train=X, y_train=y, show_real_rows=False)
    assert all("synthetic" in a["alt"] for a in page.all("img")) and "shows single training rows" not in page.text
    X, y, _, generation, _ = table
    page = written(tmp_path, generation=generation, X_train=X, y_train=y, show_real_rows=False)
    assert "cells alike" not in page.text and "of held-out rows" in page.text
    assert "shows single training rows" in written(tmp_path, generation=generation, X_train=X, y_train=y).text


def test_a_result_from_another_process_reads_the_same(table, tmp_path):
    generation = table[3]
    there_and_back = pickle.loads(pickle.dumps(generation))
    assert written(tmp_path, generation=there_and_back).text == written(tmp_path, generation=generation).text


def test_two_hundred_classes(table, tmp_path):
    labels = [f"class {k} {'ü' * 60}" for k in range(200)]
    figures = [Figure("tstr_recall", label, k / 200, 0.005, 0.9, 30) for k, label in enumerate(labels)]
    result = replace(table[3], labels=labels, figures=(*table[3].figures[:3], *figures))
    y = np.repeat(labels, 6)
    X = np.random.default_rng(0).normal(size=(len(y), 3)) + np.repeat(np.random.default_rng(1).normal(size=(200, 3)), 6, axis=0)
    none = compare({"twice": Twice()}, GaussianNB(), X, y, cv=2, n_repeats=1, inner_cv=None, baselines=["none"], amounts=(1.0,))
    page = written(tmp_path, generation=result, comparison=none)
    assert len(page.source) < 5e6 and "180 more rows" in page.text
    assert "14 of 200 classes whose recall changed most" in page.text


class Twice:
    """An augmenter that gives every row twice."""

    def fit_resample(self, X, y):
        return np.concatenate([X, X]), np.concatenate([y, y])


@pytest.mark.parametrize(
    ("shape", "dtype"), [((9, 9), "uint8"), ((200, 100, 3), "uint8"), ((9, 9, 4), "float32"), ((9, 9), "uint16")]
)
def test_grids_of_all_kinds_of_images_stay_small(shape, dtype):
    X = (np.random.default_rng(0).random((60, *shape)) * (1 if dtype == "float32" else 255)).astype(dtype)
    y = np.repeat(np.arange(20), 3)
    strips, n_left_out = class_strips(X, y[::-1], X, y, list(range(20)))
    assert len(strips) == 12 and n_left_out == 8
    for _, n_real, real, synthetic in strips:
        with Image.open(io.BytesIO(real.content)) as image:
            assert n_real == 3 and max(image.size[0] / 3, image.size[1]) <= 68 and len(synthetic.content) < 40_000
            assert len(image.getbands()) == (shape[2] if len(shape) == 3 else 1)


def test_nothing_global_changes(table, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    written(tmp_path, generation=table[3])
    assert dict(matplotlib.rcParams) == before


# ------------------------------------------------------------------ bad input
def test_a_failure_leaves_the_old_file(table, tmp_path):
    generator, generation = table[2], table[3]
    path = report(tmp_path / "report.html", generation=generation)
    old = path.read_bytes()

    class Broken:
        history_ = generator.history_
        encode = None

        @property
        def latent_report_(self):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        report(path, generation=generation, generator=Broken())
    assert path.read_bytes() == old and [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"generation": None}, InvalidParameterError, "or both; got neither"),
        ({"generation": "good"}, InvalidTypeError, "generation must be what evaluate"),
        ({"comparison": 3}, InvalidTypeError, "comparison must be what compare"),
        ({"generator": ConditionalVAE}, InvalidTypeError, "the class ConditionalVAE"),
        ({"X_train": [[1]]}, InvalidDataError, "both X_train and y_train"),
        ({"X_train": [[1]], "y_train": [1, 2]}, InvalidDataError, "1 rows, but y_train 2"),
        ({"X_train": [[1]], "y_train": [1]}, InvalidDataError, r"1 rows, but evaluate\(\) was given"),
        ({"title": 3}, InvalidParameterError, "title must be text"),
        ({"limits": [3]}, InvalidParameterError, "limits must be text"),
    ],
)
def test_bad_input(table, tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        report(tmp_path / "report.html", **{"generation": table[3], **changes})
    assert not list(tmp_path.iterdir())


def test_bad_paths(table, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        report(tmp_path, generation=table[3])
    with pytest.raises(FileNotFoundError, match="no folder"):
        report(tmp_path / "nowhere" / "report.html", generation=table[3])


def test_without_the_extra(table, tmp_path, monkeypatch):
    monkeypatch.setattr("augment_gen.report.page.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'matplotlib and jinja2: pip install "augment-gen\[report\]"'):
        report(tmp_path / "report.html", generation=table[3])


# ------------------------------------------------------------------ what is seen
def test_colours_of_text_are_legible_in_light_and_dark(table_page):
    themes = re.findall(r":root \{(.*?)\}", table_page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for role in ("ink", "muted", "good", "fair", "poor", "unclear"):
            for ground in ("paper", "raised"):
                assert contrast_ratio(colours[role], colours[ground]) >= 4.5, (role, ground)
        for role in ("real", "synthetic"):
            assert contrast_ratio(colours[role], colours["paper"]) >= 3, role


def contrast_ratio(first, second):
    """WCAG 2.2's contrast of two colours, "#rrggbb"."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return np.dot([0.2126, 0.7152, 0.0722], [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts])

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["table_page", "image_page"])
def test_a_browser_shows_it_without_complaint(name, request, tmp_path):
    path = request.getfixturevalue(name)
    for width in (390, 1280):
        seen = look(path, tmp_path, width)
        assert seen["complaints"] == [] and seen["errors"] == []
        assert seen["scroll_width"] <= width, "the page scrolls sideways"
        assert seen["sticking_out"] == [], "outside any box that scrolls"
        assert {"card", "figures", "map", "copies", "training"} <= set(seen["sections"])
        assert all(height > 10 for height in seen["sections"].values())
        assert seen["broken_images"] == 0 and seen["smallest_text"] >= 9
