"""The command ``augment-gen``: arguments in, one call into the library, what it found printed.

Exit codes: 0 done, 1 a failure (a full disk, a diverged training), 2 a mistake in what was asked for, 130 interrupted.
"""

import re
import sys
import warnings
from contextlib import contextmanager
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

try:
    import typer
except ModuleNotFoundError:
    sys.exit('augment-gen: the command line needs typer: pip install "augment-gen[cli]"')

from augment_gen.errors import AugmentGenError, InvalidRequestError, OutputExistsError, TrainingDivergedError

MODELS = {"vae": "ConditionalVAE", "gan": "ConditionalGAN", "warp": "WarpVAE", "elastic": "ElasticWarp"}
STRATEGIES = ("auto", "minority", "not minority", "not majority", "all")
TABLES = (".csv", ".parquet")
# what errors call a parameter in Python, and what it is called here
OPTIONS = [
    (r'on_error="skip"', "--on-error skip"),
    (r"size=\((\d+), (\d+)\)", r"--size \1x\2"),
    (r"force=True", "--force"),
    (r"\bmark=", "--mark "),
    (r"\bcheckpoint_dir=", "--checkpoint-dir "),
    (r"\bsampling_strategy\b", "--strategy"),
    (r"\bmax_steps\b", "--steps"),
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Synthetic samples of rare classes, for class folders of images and for tables (.csv, .parquet).",
    epilog="Exit codes: 0 done, 1 failure, 2 mistake in what was asked for, 130 interrupted.",
)

ModelName = StrEnum("ModelName", list(MODELS))
OnError = StrEnum("OnError", ["raise", "skip"])
Source = Annotated[Path, typer.Argument(help="Folder with one sub-folder a class, or a .csv or .parquet file.")]
Target = Annotated[str | None, typer.Option(help="Column of the labels (tables).", metavar="COLUMN")]
Model = Annotated[ModelName, typer.Option(help="The generator; warp and elastic are for images only.")]
Strategy = Annotated[str, typer.Option(help='"auto" (all up to the largest class), "minority", 0.5, or "a=200,b=50" in all.')]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps; by default as the size of the data asks.")]
Size = Annotated[str | None, typer.Option(help="Resize images to train on: 64, or 48x64 (height x width).", metavar="SIZE")]
Unreadable = Annotated[OnError, typer.Option(help="Unreadable images: stop, or leave them out.")]
Mark = Annotated[str | None, typer.Option(help="Add this column, true for synthetic rows (tables).", metavar="COLUMN")]
Checkpoints = Annotated[Path | None, typer.Option(help="Keep checkpoints here; the same command goes on from them.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what augment-gen wrote there before.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


@app.command()
def rebalance(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder or file to write.")],
    target: Target = None,
    model: Model = "vae",
    strategy: Strategy = "auto",
    device: Device = "auto",
    seed: Seed = 0,
    steps: Steps = None,
    size: Size = None,
    on_error: Unreadable = "raise",
    synthetic_only: Annotated[bool, typer.Option("--synthetic-only", help="Write no real images or rows.")] = False,
    mark: Mark = None,
    checkpoint_dir: Checkpoints = None,
    force: Force = False,
    quiet: Quiet = False,
):
    """Copy data and add synthetic samples of rare classes."""
    with plain_errors(out, source.is_dir(), force, checkpoint_dir):
        generator = make_generator(model, device, seed, steps, quiet)
        common = {"seed": seed, "synthetic_only": synthetic_only, "force": force, "checkpoint_dir": checkpoint_dir}
        if is_folder(source, target, mark):
            from augment_gen.pipelines.filling import rebalance_folder

            generator.set_params(sampling_strategy=_strategy(strategy, str))
            found = rebalance_folder(
                source, out, generator, size=image_size(size), on_error=on_error.value, verbose=generator.verbose, **common
            )
        else:
            from augment_gen.pipelines.tables import read_table, rebalance_table

            y = read_table(source).split(target)[1] if "=" in strategy else []
            labels = {str(label): label for label in set(y)}
            generator.set_params(sampling_strategy=_strategy(strategy, lambda text: labels.get(text, text)))
            found = rebalance_table(source, out, generator, target, mark=mark, **common)
        typer.echo(f"{found.to_string(index=False)}\nWritten to {out}")


@app.command()
def fit(
    source: Source,
    out: Annotated[Path, typer.Option(help="Model file to write, such as model.safetensors.")],
    target: Target = None,
    model: Model = "vae",
    device: Device = "auto",
    seed: Seed = 0,
    steps: Steps = None,
    size: Size = None,
    on_error: Unreadable = "raise",
    checkpoint_dir: Checkpoints = None,
    force: Force = False,
    quiet: Quiet = False,
):
    """Train a generator, and keep it in a model file; with `torchrun -m augment_gen fit ...` on several GPUs or machines."""
    with plain_errors(out, checkpoint_dir=checkpoint_dir):
        from augment_gen.distributed import data_parallel
        from augment_gen.pipelines.folders import class_folders, read_image_folder
        from augment_gen.pipelines.manifest import check_apart
        from augment_gen.pipelines.tables import read_table

        generator = make_generator(model, device, seed, steps, quiet)
        as_folder = is_folder(source, target)
        check_apart(out, [source, *(class_folders(source) if as_folder else [])])
        if out.is_dir() or (out.exists() and not force):
            raise OutputExistsError(f"{str(out)!r} exists. Name another file, or replace it with force=True.")
        if not out.resolve().parent.is_dir():
            raise FileNotFoundError(f"There is no folder {str(out.parent)!r} to write the model to.")
        if as_folder:
            X, y = read_image_folder(source, image_size(size), on_error=on_error.value, verbose=generator.verbose)
        else:
            X, y = read_table(source).split(target)
        with data_parallel() as share:  # under torchrun all processes train, and one of them writes
            generator.set_params(verbose=generator.verbose if share.rank == 0 else 0)
            generator.fit(X, y, checkpoint_dir=checkpoint_dir)
        if share.rank == 0:
            generator.save(out)
            typer.echo(f"{out.name}: {type(generator).__name__} of {len(y)} samples of {len(generator.classes_)} classes")


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="Model file that `fit` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder (images, shards) or .csv or .parquet file (tables) to write.")],
    label: Annotated[str | None, typer.Option(help="Draw this label only.")] = None,
    n: Annotated[
        int | None, typer.Option("--n", "-n", min=0, help="How many; without --label as often as in training.")
    ] = None,
    counts: Annotated[str | None, typer.Option(help='How many of each label: "melanoma=200,nevus=20".')] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, help="Write so many Parquet parts (tables) or WebDataset tars (images), shared among workers."),
    ] = None,
    seed: Seed = 0,
    device: Annotated[str | None, typer.Option(help="By default what the model was trained with.")] = None,
    mark: Mark = None,
    force: Force = False,
    quiet: Quiet = False,
):
    """Draw samples of given labels from a model file; with --shards also as several workers of torchrun or srun."""
    with plain_errors(out, True, force):
        if (counts is None) == (n is None) or (counts is not None and label is not None):
            raise InvalidRequestError("Give either --counts, or --n with or without --label.")
        import augment_gen
        from augment_gen.codecs import ImageCodec
        from augment_gen.distributed import use_own_gpu, worker
        from augment_gen.pipelines.filling import by_frequency, sample_folder
        from augment_gen.pipelines.shards import sample_shards
        from augment_gen.pipelines.tables import sample_table

        me = worker()
        if me[1] > 1 and shards is None:
            raise InvalidRequestError(f"{me[1]} workers would write the same file. Give --shards, which are shared among them.")
        use_own_gpu()
        generator = augment_gen.load(model, device=device)
        labels = {str(known): known for known in generator.classes_.tolist()}
        if counts is not None:
            wanted = {labels.get(text, text): number for text, number in _counts(counts).items()}
        else:
            wanted = by_frequency(generator, n) if label is None else {labels.get(label, label): n}
        common = {"model": model, "seed": seed, "force": force}
        if shards is not None:
            if mark is not None:
                raise InvalidRequestError("--mark is not for shards: all of their rows are synthetic.")
            verbose = shows_progress(quiet) if me[0] == 0 else 0
            found = sample_shards(generator, out, wanted, shards, worker=me, verbose=verbose, **common)
            typer.echo(f"{len(found)} of {shards} shards, {found['rows'].sum()} samples, are in {out}")
            return
        if isinstance(generator.codec_, ImageCodec):
            if mark is not None:
                raise InvalidRequestError("--mark is for tables; images are marked in their files and in manifest.csv.")
            found = sample_folder(generator, out, wanted, verbose=shows_progress(quiet), **common)
        else:
            found = sample_table(generator, out, wanted, mark=mark, **common)
        typer.echo(f"{found.to_string(index=False)}\nWritten to {out}")


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="Model file, class folder, or .csv or .parquet file.")],
    target: Target = None,
):
    """Describe a model file, class folder or table."""
    with plain_errors():
        from augment_gen.pipelines import inventory

        if path.suffix.lower() in TABLES and not path.is_dir():
            text = inventory.describe_table(path, target)
        else:
            text = inventory.describe_folder(path) if path.is_dir() else inventory.describe_model(path)
        typer.echo(text)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False):
    if show:
        from augment_gen import __version__

        typer.echo(f"augment-gen {__version__}")
        raise typer.Exit()


def main():
    """Entry point of the console script."""
    import_module("augment_gen.cli_judge")  # adds its commands

    seen = set()
    warnings.showwarning = lambda message, category, *_, **__: _warn(message, category, seen)
    app(prog_name="augment-gen")


@contextmanager
def plain_errors(out=None, resumes=False, force=False, checkpoint_dir=None):
    """Errors become one line and an exit code; an interruption says what is left and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        say(_interrupted(out, force) if resumes else "Interrupted. Nothing was written.")
        if checkpoint_dir is not None and any(checkpoint_dir.glob("checkpoint-*")):
            say(f"What was trained is kept in {checkpoint_dir}: the same command trains on from there.")
        raise typer.Exit(130) from None
    except (OSError, MemoryError, ModuleNotFoundError, ValueError, TypeError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, (AugmentGenError, OSError, ModuleNotFoundError)):
            text = f"{type(error).__name__}: {text}"  # not one of ours: its text alone may say little
        say(_in_options(text))
        raise typer.Exit(_exit_code(error)) from None


def _exit_code(error):
    """2 for a mistake in what was asked for, 1 for a failure."""
    mistakes = (AugmentGenError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, ModuleNotFoundError)
    return 2 if isinstance(error, mistakes) and not isinstance(error, TrainingDivergedError) else 1


def _interrupted(out, force):
    try:
        from augment_gen.pipelines.output_folder import progress
        from augment_gen.pipelines.shards import progress as shards_progress
    except Exception:  # the interruption came while torch was half imported, which cannot be done twice
        return "Interrupted before anything was done. The same command starts again."
    if force:  # what lies there may be of another run, which is replaced once a generator is trained
        return "Interrupted. The same command goes on, or starts again where nothing was drawn yet."
    found = (progress(out) or shards_progress(out)) if out.is_dir() else None
    if found is None:
        return "Interrupted before anything was drawn. The same command starts again."
    return f"Interrupted: {found[0]} of {found[1]} files are written to {out}. The same command goes on from there."


def _in_options(text):
    for pattern, replacement in OPTIONS:
        text = re.sub(pattern, replacement, text)
    return " ".join(text.split())


def say(text):
    """One line on stderr."""
    typer.echo(f"augment-gen: {text}", err=True)


def _warn(message, category, seen):
    """A warning as one line; one about drawn rows only once, since every page of images may repeat it."""
    text = str(message)
    key = category if category.__name__ == "NoveltyWarning" else text
    if key not in seen:
        seen.add(key)
        say(f"warning: {_in_options(text)}")


def is_folder(source, target, mark=None):
    """Whether `source` is a class folder; raises where the options do not fit what it is."""
    if source.suffix.lower() in TABLES and not source.is_dir():
        if target is None:
            from augment_gen.pipelines.tables import read_table

            columns = ", ".join(map(str, read_table(source).frame.columns))
            raise InvalidRequestError(f"Name the column of the labels with --target. The columns are: {columns}.")
        return False
    if source.exists() and not source.is_dir():
        raise InvalidRequestError(f"{source} is neither a folder nor a {' or '.join(TABLES)} file.")
    if target is not None or mark is not None:
        raise InvalidRequestError("--target and --mark are for tables; the classes of images are the sub-folders.")
    return True


def shows_progress(quiet):
    """What `verbose` should be: 1 where somebody watches."""
    return int(not quiet and sys.stderr.isatty())


def make_generator(model, device, seed, steps, quiet):
    """The generator that the options ask for, not fitted."""
    import augment_gen

    return getattr(augment_gen, MODELS[model.value])(
        device=device, random_state=seed, max_steps=steps or "auto", verbose=shows_progress(quiet)
    )


def _strategy(text, label):
    if "=" in text:
        return {label(name): number for name, number in _counts(text).items()}
    if text in STRATEGIES:
        return text
    try:
        if 0 < float(text) <= 1:
            return float(text)
    except ValueError:
        pass
    raise InvalidRequestError(
        f"--strategy must be one of {', '.join(STRATEGIES)}; or, with two classes, a ratio such as 0.9; or how many of a label "
        f'in all, such as "melanoma=200,nevus=300"; got "{text}".'
    )


def _counts(text):
    pairs = [part.rpartition("=") for part in text.split(",")]
    if not all(name and number.strip().isdecimal() for name, _, number in pairs):
        raise InvalidRequestError(f'"{text}" should read like "melanoma=200,nevus=20".')
    counts = {name.strip(): int(number) for name, _, number in pairs}
    if len(counts) < len(pairs):
        raise InvalidRequestError(f'"{text}" names a label twice.')
    return counts


def image_size(text):
    """``(height, width)`` of "64" or "48x64"; None of None."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise InvalidRequestError(f'--size "{text}" should read like 64, or 48x64 (height x width).')
    return int(sides[0]), int(sides[-1])
