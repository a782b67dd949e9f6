"""`report` writes one HTML file: a first screen that answers, and below it everything the answer rests on.

Enters: results of `evaluate` and `compare`. Leaves: a file that needs no network, no script and no other file.
"""

from importlib.util import find_spec
from pathlib import Path

from augment_gen.errors import InvalidParameterError, MissingExtraError
from augment_gen.persistence import written_aside
from augment_gen.report.findings import Findings

NEEDED = ("matplotlib", "jinja2")


def report(
    path,
    *,
    generation=None,
    comparison=None,
    generator=None,
    X_train=None,
    y_train=None,
    title="Synthetic data report",
    intended_use=None,
    limits=(),
    show_real_rows=True,
    plots=None,
):
    """Write what `evaluate` and `compare` found as one HTML file.

    The first screen says in words whether to use the synthetic rows, and shows one plot; below are figures, pictures or
    columns, maps, nearest neighbours, training curves and a model card. The file holds no scripts and loads nothing; it is
    readable on a phone, in light and dark, and without telling colours apart.

    Parameters
    ----------
    path : str or path-like
        File to write. One that is there is replaced, once the new one is whole.
    generation : GenerationResult, optional
        What `evaluate` found.
    comparison : ComparisonResult, optional
        What `compare` found. At least one of the two is needed.
    generator : object, optional
        The fitted generator, for its training curves, how it models each class and what its filters reject; the comparison's
        arms that begin with its class's name are those that the first screen is about.
    X_train, y_train : optional
        The rows that `evaluate` was given as such: for real images beside synthetic ones, the shapes of columns, and nearest
        neighbours.
    title : str
    intended_use : str, optional
        What the rows are meant for, in words, for the model card.
    limits : str or list of str
        What they should not be used for, or what else is known to be wrong with them; joins the general limits.
    show_real_rows : bool, default=True
        Whether single training rows and images may be shown. Then the file is as confidential as they are; it says so.
        Distributions, and points on maps, are shown in any case.
    plots : str or path-like, optional
        A folder into which the plots go as PNGs, too; it is made if need be.

    Returns
    -------
    pathlib.Path
        Of the file.

    Raises
    ------
    InvalidParameterError
        Neither result is given, or a text is none.
    InvalidTypeError
        `generation` or `comparison` is something else.
    InvalidDataError
        X_train and y_train are not those that were evaluated.
    MissingExtraError
        matplotlib or jinja2 is not installed.
    FileNotFoundError, IsADirectoryError
        `path` is in no folder, or is one.

    Examples
    --------
    >>> import tempfile
    >>> from imblearn.over_sampling import SMOTE
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from augment_gen.evaluation import compare
    >>> from augment_gen.report import report
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> result = compare({"my SMOTE": SMOTE()}, GaussianNB(), X, y, cv=3, n_repeats=1, inner_cv=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     "No need to" in report(f"{folder}/report.html", comparison=result).read_text(encoding="utf-8")
    True
    """
    path, limits = Path(path), [limits] if isinstance(limits, str) else list(limits)
    findings = Findings(generation, comparison, generator, X_train, y_train, show_real_rows)
    check_ready(path, title, intended_use, limits)
    page = _page(findings, title, intended_use, limits)
    if plots is not None:
        _write_plots(Path(plots), page)
    html = _render(page)
    with written_aside(path) as aside:
        Path(aside).write_bytes(html.encode("utf-8", "replace"))
    return path


def _page(findings, title, intended_use, limits):
    """What the template lays out, as a dict."""
    from augment_gen.report import card, words
    from augment_gen.report.plots import comparison_plot, quality_plot
    from augment_gen.report.sections import make_sections

    generation, comparison = findings.generation, findings.comparison
    return {
        "title": title,
        "context": card.context(findings),
        "advice": words.advice(generation, comparison, findings.arm),
        "answers": words.answers(generation, comparison, findings.arm),
        "main_plot": quality_plot(generation) if comparison is None else comparison_plot(comparison),
        "sections": make_sections(findings),
        "card": card.card_rows(findings, intended_use),
        "limits": [*limits, *card.LIMITS],
        "source_type": card.SYNTHETIC,
        "shows_real_rows": findings.X_shown is not None and generation is not None,
    }


def _render(page):
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("augment_gen.report", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("template.html").render(page)


def _write_plots(folder, page):
    from augment_gen.report.style import Plot

    folder.mkdir(parents=True, exist_ok=True)
    found = [page["main_plot"], *(block for section in page["sections"] for block in section.blocks if isinstance(block, Plot))]
    for plot in {plot.name: plot for plot in found}.values():
        with written_aside(folder / f"{plot.name}.png") as aside:
            Path(aside).write_bytes(plot.png())


def check_ready(path, title, intended_use, limits):
    """Raise unless a report with these texts can be made and written to `path`; see `report`."""
    limits = [limits] if isinstance(limits, str) else limits
    for name, text in [("title", title), ("intended_use", intended_use or ""), *(("limits", limit) for limit in limits)]:
        if not isinstance(text, str):
            raise InvalidParameterError(f"{name} must be text; got {text!r}.")
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder. Name a file, such as {str(path / 'report.html')!r}.")
    if not path.resolve().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write the report to.")
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f'A report needs {" and ".join(missing)}: pip install "augment-gen[report]".')
