"""The commands ``augment-gen evaluate`` and ``augment-gen report``: whether synthetic samples are good, and whether they help.

They join the others when this module is imported.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from augment_gen.cli import (
    OPTIONS,
    Device,
    Force,
    Model,
    Quiet,
    Seed,
    Size,
    Source,
    Steps,
    Target,
    Unreadable,
    app,
    image_size,
    is_folder,
    make_generator,
    plain_errors,
    say,
    shows_progress,
)
from augment_gen.errors import InvalidRequestError, OutputExistsError

OPTIONS += [
    (r"\bn_splits\b", "--splits"),
    (r"\bmax_rows\b", "--rows"),
    (r"\btest_share\b", "--test-share"),
    (r"\bcheckpoint=", "--checkpoint "),
]
# the keys of evaluation.SCORES, which is not imported for the sake of --help; a test holds them together
Scoring = StrEnum(
    "Scoring",
    [
        "balanced_accuracy",
        "macro_f1",
        "g_mean",
        "minority_recall",
        "minority_precision",
        "average_precision",
        "roc_auc",
        "brier",
        "calibration_error",
    ],
)
Title = Annotated[str, typer.Option(help="Of the report.")]
IntendedUse = Annotated[str | None, typer.Option(help="What the samples are meant for: goes into the model card.")]
NoRealRows = Annotated[bool, typer.Option("--no-real-rows", help="Show no single training rows or images in the report.")]
Plots = Annotated[Path | None, typer.Option(help="Folder to write the plots to, as PNGs.")]


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file that `fit` wrote.")],
    train: Annotated[Path, typer.Argument(help="What the model was trained on: class folder, .csv or .parquet file.")],
    test: Annotated[Path, typer.Argument(help="Real samples that it has not seen, in the same form.")],
    target: Target = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write a report to.")] = None,
    figures: Annotated[Path | None, typer.Option(help="CSV file to write all figures to.")] = None,
    title: Title = "Synthetic data report",
    intended_use: IntendedUse = None,
    no_real_rows: NoRealRows = False,
    plots: Plots = None,
    device: Device = "auto",
    seed: Seed = 0,
    on_error: Unreadable = "raise",
    force: Force = False,
    quiet: Quiet = False,
):
    """Say how good a model's samples are, beside real ones that it has not seen."""
    with plain_errors(out):
        if plots is not None and out is None:
            raise InvalidRequestError("--plots needs --out: they belong to the report.")
        _check_free(out, plots, figures, force)
        import augment_gen
        from augment_gen.codecs import ImageCodec
        from augment_gen.evaluation import evaluate
        from augment_gen.persistence import written_aside
        from augment_gen.report import report

        generator, verbose = augment_gen.load(model), shows_progress(quiet)
        is_image = isinstance(generator.codec_, ImageCodec)
        size = generator.codec_.format_.size[1:] if is_image else None
        if is_image != is_folder(train, target) or is_image != is_folder(test, target):
            raise InvalidRequestError(f"{model.name} draws {'images' if is_image else 'tables'}: give data of that kind.")
        (X, y), (X_test, y_test) = (_read(path, target, size, on_error, verbose) for path in (train, test))
        found = evaluate(generator, X_test, y_test, X_train=X, y_train=y, device=device, random_state=seed, verbose=verbose)
        if figures is not None:
            with written_aside(figures) as aside:
                found.frame().to_csv(aside, index=False)
        if out is not None:
            report(
                out, generation=found, generator=generator, X_train=X, y_train=y, title=title, intended_use=intended_use,
                show_real_rows=not no_real_rows, plots=plots,
            )  # fmt: skip
        typer.echo("\n".join([str(found), *(f"Written to {path}" for path in (out, figures) if path)]))


@app.command()
def report(
    source: Source,
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    target: Target = None,
    test: Annotated[Path | None, typer.Option(help="Samples to evaluate on; by default a part of the source.")] = None,
    test_share: Annotated[float, typer.Option(help="That part.")] = 0.3,
    model: Model = "vae",
    steps: Steps = None,
    size: Size = None,
    no_compare: Annotated[bool, typer.Option("--no-compare", help="Do not find out whether the samples help.")] = False,
    scoring: Annotated[Scoring, typer.Option(help="What the comparison is about.")] = "balanced_accuracy",
    splits: Annotated[int | None, typer.Option(min=2, help="Folds of the comparison: 5 for tables, 3 for images.")] = None,
    rows: Annotated[int | None, typer.Option(min=100, help="Samples to compare on: 4000 rows, 1000 images.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes of the comparison.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File from which an interrupted comparison goes on.")] = None,
    title: Title = "Synthetic data report",
    intended_use: IntendedUse = None,
    no_real_rows: NoRealRows = False,
    plots: Plots = None,
    device: Device = "auto",
    seed: Seed = 0,
    on_error: Unreadable = "raise",
    force: Force = False,
    quiet: Quiet = False,
):
    """Train, evaluate and compare, and write an HTML report: are the samples good, and do they help?"""
    with plain_errors(out):
        _check_free(out, plots, None, force)
        as_folder = is_folder(source, target)
        if test is not None:
            is_folder(test, target)
        from augment_gen.report import full_report

        generator, verbose = make_generator(model, device, seed, steps, quiet), shows_progress(quiet)
        X, y = _read(source, target, image_size(size), on_error, verbose)
        held_out = {}
        if test is not None:
            side = tuple(X.shape[1:3]) if as_folder else None
            held_out = dict(zip(("X_test", "y_test"), _read(test, target, side, on_error, verbose), strict=True))
        try:
            found = full_report(
                out, generator, X, y, **held_out, test_share=test_share, scoring=scoring.value, with_comparison=not no_compare,
                n_splits=splits, max_rows=rows, n_jobs=jobs, checkpoint=checkpoint, title=title, intended_use=intended_use,
                show_real_rows=not no_real_rows, plots=plots, device=device, random_state=seed, verbose=verbose,
            )  # fmt: skip
        except KeyboardInterrupt:
            if checkpoint is None or not checkpoint.exists():
                raise
            say(f"Interrupted. The same command uses what was compared so far, in {checkpoint}.")
            raise typer.Exit(130) from None
        verdicts = [result.verdict for result in (found.generation, found.comparison) if result is not None]
        typer.echo("\n\n".join([*verdicts, f"Written to {out}"]))


def _read(path, target, size, on_error, verbose):
    """X and y of a class folder or a table."""
    from augment_gen.pipelines.folders import read_image_folder
    from augment_gen.pipelines.tables import read_table

    if path.is_dir():
        return read_image_folder(path, size, on_error=on_error.value, verbose=verbose)
    return read_table(path).split(target)


def _check_free(out, plots, figures, force):
    """Raise where something would be replaced without --force, or cannot be written, before hours are spent."""
    for path in filter(None, (out, figures)):
        if path.is_dir() or (path.exists() and not force):
            raise OutputExistsError(f"{str(path)!r} exists. Name another file, or replace it with force=True.")
        if not path.resolve().parent.is_dir():
            raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write to.")
    if plots is not None and plots.exists() and not (force and plots.is_dir()) and (plots.is_file() or any(plots.iterdir())):
        raise OutputExistsError(f"{str(plots)!r} exists. Name another folder, or write into it with force=True.")
