"""Tables in CSV and Parquet files, read and written again with synthetic rows behind.

Enters: a ``.csv`` or ``.parquet`` file. Leaves: a DataFrame to learn from. Real rows are written as they stood in the file: a
CSV's cells with the spelling that they had, a Parquet file's columns with their types.
"""

import csv
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from augment_gen.errors import InvalidDataError, InvalidRequestError, OutputExistsError
from augment_gen.persistence import written_aside
from augment_gen.pipelines.manifest import balance, check_apart
from augment_gen.pipelines.provenance import KEY, SIDECAR, Provenance, read_provenance

SUFFIXES = (".csv", ".parquet")
MISSING = {"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?"}  # what may stand for a missing number in a CSV
NUMBER = r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"  # no leading zeros, which only codes have


@dataclass(frozen=True)
class Table:
    """A table that was read from a file.

    Attributes
    ----------
    frame : DataFrame
        What generators learn from.
    cells : DataFrame of str, or None
        A CSV's cells as they are spelled.
    arrow : pyarrow.Table, or None
        A Parquet file's columns as they are stored.
    separator : str
        Between a CSV's cells.
    """

    frame: pd.DataFrame
    cells: pd.DataFrame | None = None
    arrow: object = None
    separator: str = ","

    def split(self, target):
        """``(X, y)``: all columns but `target`, and that one.

        Raises
        ------
        InvalidRequestError
            There is no such column, or no other.
        """
        columns = self.frame.columns.tolist()
        if target not in columns:
            raise InvalidRequestError(f"There is no column {target!r}. The columns are: {', '.join(map(str, columns))}.")
        if len(columns) == 1:
            raise InvalidRequestError(f"{target!r} is the only column: there is nothing to learn from.")
        return self.frame.drop(columns=target), self.frame[target]


def read_table(path):
    """Read a ``.csv`` (UTF-8, with a header, separated by comma, semicolon or tab) or ``.parquet`` file.

    A CSV's column of plain numbers is numeric, with ``NA``, ``NaN``, ``null``, ``None``, ``?`` or nothing for missing ones. Any
    other is text, in which only an empty cell is missing; so are codes with leading zeros, dates, and true and false.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError
    InvalidDataError
        The file is no such table; the message says why.
    """
    path = Path(path)
    check_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    repeated = table.frame.columns[table.frame.columns.duplicated()].tolist()
    if repeated:
        raise InvalidDataError(f"{path.name} has several columns {repeated[0]!r}. Give every column its own name.")
    if not len(table.frame):
        raise InvalidDataError(f"{path.name} has no rows.")
    return table


def write_table(path, synthetic, *, real=None, mark=None, record=None, force=False):
    """Write synthetic rows, behind real ones where there are such, atomically.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.csv`` or ``.parquet``.
    synthetic : DataFrame
    real : Table, optional
        Decides the order and types of the columns. Its rows come first.
    mark : str, optional
        Name of a column to add, which is true for synthetic rows. Without it nothing in the rows tells them apart.
    record : dict, optional
        `Provenance.record`; goes into the Parquet file's metadata, or into ``<path>.provenance.json`` beside a CSV file, with
        the number of the first synthetic row and how many there are.
    force : bool
        Replace a file that is there.

    Raises
    ------
    OutputExistsError
    InvalidRequestError
        `mark` is already a column, or `path` has another ending.
    """
    path, n_real = Path(path), 0 if real is None else len(real.frame)
    check_output(path, force)
    synthetic = synthetic if real is None else synthetic[real.frame.columns]
    _check_mark(mark, synthetic)
    record = {**(record or {}), "first_synthetic_row": n_real, "synthetic_rows": len(synthetic)}
    if path.suffix.lower() == ".parquet":
        _write_parquet(path, synthetic, real, mark, record)
    else:
        _write_csv(path, synthetic, real, mark)
        with written_aside(path.with_name(path.name + SIDECAR)) as aside:
            Path(aside).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def rebalance_table(source, out, generator, target, *, seed=0, mark=None, synthetic_only=False, force=False):
    """Write a table again with synthetic rows behind, as many as the generator's ``sampling_strategy`` says.

    Parameters
    ----------
    source, out : str or path-like
        ``.csv`` or ``.parquet``; not the same file.
    generator : ConditionalVAE or ConditionalGAN
        Unfitted; it is fitted on the table.
    target : str
        The column of labels.
    seed : int
        Of the synthetic rows; the training's is the generator's ``random_state``.
    mark, force
        As for `write_table`.
    synthetic_only : bool
        Leave the real rows out.

    Returns
    -------
    DataFrame
        Per label: how many real and synthetic rows are in `out`.
    """
    check_output(out, force)
    check_apart(Path(out), [Path(source)])
    table = read_table(source)
    X, y = table.split(target)
    _check_mark(mark, table.frame)
    if read_provenance(source):
        raise InvalidDataError(f"{str(source)!r} holds synthetic rows already. Start from the table of real rows.")
    generator.fit(X, y)
    X_new, y_new = generator.sample(generator.sampling_strategy_, random_state=seed)
    synthetic = X_new.assign(**{target: y_new})[table.frame.columns]
    record = Provenance.of(generator, seed).record(target=target)
    write_table(out, synthetic, real=None if synthetic_only else table, mark=mark, record=record, force=force)
    return balance([] if synthetic_only else y.tolist(), y_new.tolist())


def sample_table(generator, out, n_samples, *, model, seed=0, mark=None, force=False):
    """Write rows that a fitted generator draws; the labels are the last column.

    Parameters
    ----------
    generator : fitted on a DataFrame and a named Series
    out : str or path-like
    n_samples : int or dict {label: int}
    model : str or path-like
        The generator's file, for the provenance.
    seed : int
    mark, force
        As for `write_table`.

    Returns
    -------
    DataFrame
        As of `rebalance_table`.
    """
    check_output(out, force)
    check_apart(Path(out), [Path(model)])
    X_new, y_new = generator.sample(n_samples, random_state=seed)
    if not isinstance(X_new, pd.DataFrame):
        X_new = pd.DataFrame(np.asarray(X_new)).rename(columns="x{}".format)
    target = getattr(y_new, "name", None) or "label"
    record = Provenance.of(generator, seed, model).record(target=target)
    write_table(out, X_new.assign(**{target: np.asarray(y_new)}), mark=mark, record=record, force=force)
    return balance([], np.asarray(y_new).tolist())


def check_output(path, force):
    """Raise unless a table can be written to `path`."""
    check_suffix(Path(path))
    if Path(path).is_dir() or (Path(path).exists() and not force):
        raise OutputExistsError(f"{str(path)!r} exists. Name another file, or replace it with force=True.")


def check_suffix(path):
    """Raise unless `path` ends in .csv or .parquet."""
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequestError(f"{str(path)!r} is no table: its name must end in {' or '.join(SUFFIXES)}.")


def _check_mark(mark, frame):
    if mark in frame.columns:
        raise InvalidRequestError(f"mark={mark!r} is already a column. Name another one.")


def _read_csv(path):
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            separator = max(",;\t", key=header.count)
            names = next(csv.reader([header], delimiter=separator), [])
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            options = {"dtype": str, "keep_default_na": False, "index_col": False}
            cells = pd.read_csv(path, sep=separator, encoding="utf-8-sig", **options)
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{path.name} is not in UTF-8 ({error}). Save it as UTF-8.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, csv.Error) as error:
        raise InvalidDataError(f"{path.name} cannot be read as CSV: {error}") from error
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:  # pandas would rename the second
        raise InvalidDataError(f"{path.name} has several columns {repeated[0]!r}. Give every column its own name.")
    return Table(pd.DataFrame({name: _typed(cells[name]) for name in cells}), cells=cells, separator=separator)


def _typed(column):
    """A CSV's column of str: as Int64 or float64 where it holds plain numbers, else as text with empty cells missing."""
    missing = column.isin(MISSING)
    given = column[~missing]
    if not len(given) or not given.str.fullmatch(NUMBER).all():
        return column.mask(column == "")
    numbers = pd.to_numeric(given)
    if numbers.dtype.kind in "iu":
        return numbers if not missing.any() else numbers.reindex(column.index).astype("Int64")
    return numbers.astype(np.float64).reindex(column.index)


def _write_csv(path, synthetic, real, mark):
    parts = [(synthetic, True)]
    if real is not None:
        parts.insert(0, (real.frame if real.cells is None else real.cells, False))
    separator = "," if real is None else real.separator
    with written_aside(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        for number, (rows, is_synthetic) in enumerate(parts):
            rows = rows if mark is None else rows.assign(**{mark: is_synthetic})
            rows.to_csv(file, sep=separator, index=False, header=number == 0)


def _read_parquet(path):
    pyarrow, parquet = _pyarrow()
    try:
        arrow = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InvalidDataError(f"{path.name} cannot be read as Parquet: {error}") from error
    return Table(arrow.to_pandas().reset_index(drop=True), arrow=arrow)


def _write_parquet(path, synthetic, real, mark, record):
    pa, parquet = _pyarrow()
    if real is None:
        table = pa.Table.from_pandas(synthetic, preserve_index=False)
    else:
        first = pa.Table.from_pandas(real.frame, preserve_index=False) if real.arrow is None else real.arrow
        # a column that pandas took for the index is nothing to learn from, and empty in synthetic rows
        fields = [field for field in first.schema if field.name in synthetic.columns]
        drawn = pa.Table.from_pandas(synthetic, schema=pa.schema(fields), preserve_index=False)
        empty = lambda field: pa.nulls(len(synthetic), field.type)
        columns = [drawn[field.name] if field in fields else empty(field) for field in first.schema]
        table = pa.concat_tables([first, pa.Table.from_arrays(columns, schema=first.schema)])
    if mark is not None:
        table = table.append_column(mark, pa.array(np.arange(len(table)) >= record["first_synthetic_row"]))
    metadata = {**(table.schema.metadata or {}), KEY.encode(): json.dumps(record, ensure_ascii=False).encode()}
    with written_aside(path) as aside:
        parquet.write_table(table.replace_schema_metadata(metadata), aside)


def _pyarrow():
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('Parquet files need pyarrow: pip install "augment-gen[cli]".') from error
    return pyarrow, parquet
