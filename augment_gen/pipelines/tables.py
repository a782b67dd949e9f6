"""Tables in CSV and Parquet files, read and written again with synthetic rows behind.

Enters: a ``.csv`` or ``.parquet`` file. Leaves: a DataFrame to learn from. Real rows are written with the values that stood in
the file: a CSV's as they were spelled (quotes that nothing needs, CRLF and blank lines go), a Parquet file's in their types.
"""

import csv
import json
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from augment_gen.errors import InvalidDataError, InvalidRequestError, OutputExistsError
from augment_gen.persistence import written_aside
from augment_gen.pipelines.manifest import balance, check_apart
from augment_gen.pipelines.parquet import check_types, read_parquet, write_parquet
from augment_gen.pipelines.provenance import SIDECAR, SYNTHETIC, Provenance, checked_seed, read_provenance

SUFFIXES = (".csv", ".parquet")
SEPARATORS = ",;\t"
MISSING = {"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?"}  # what may stand for a missing number in a CSV
LONGEST_NUMBER = 300  # characters of a number; longer ones are text
MAX_COLUMNS = 10_000  # of a CSV; a minute's work
LONGEST_HEADER = 2**24  # characters
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
        InvalidDataError
            A column of a Parquet type that cannot be learned from: times of day, binary, lists and other nested ones.
        """
        if self.arrow is not None:
            check_types(self.arrow, self.frame)
        columns = self.frame.columns.tolist()
        if target not in columns:
            raise InvalidRequestError(f"There is no column {target!r}. The columns are: {', '.join(map(str, columns))}.")
        if len(columns) == 1:
            raise InvalidRequestError(f"{target!r} is the only column: there is nothing to learn from.")
        return self.frame.drop(columns=target), self.frame[target]

    @property
    def written(self):
        """The rows as they go into a CSV: cells as they were spelled, or a Parquet file's own values."""
        if self.cells is not None:
            return self.cells
        return self.frame if self.arrow is None else self.arrow.to_pandas().reset_index(drop=True)

    def spelled(self, target, labels):
        """`labels` of the column `target` as real rows of a CSV spell them: 2.0 as "2.00", say."""
        spelling = dict(zip(self.frame[target], self.written[target], strict=True))
        return [spelling[label] for label in labels]


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
    if path.suffix.lower() == ".parquet":
        frame, arrow = read_parquet(path)
        table = Table(frame, arrow=arrow)
    else:
        table = _read_csv(path)
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
        the number of the first synthetic row and how many there are. Without it the file says only that they are synthetic.
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
    marked = {"digitalSourceType": SYNTHETIC, "first_synthetic_row": n_real, "synthetic_rows": len(synthetic)}
    record = {**(record or {}), **marked}
    if path.suffix.lower() == ".parquet":
        write_parquet(path, synthetic, real, mark, record)
    else:
        with written_aside(path) as aside:  # comes to its place after the file that marks it: it is never there without
            _write_csv(aside, synthetic, real, mark)
            with written_aside(path.with_name(path.name + SIDECAR)) as beside:
                Path(beside).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def rebalance_table(
    source, out, generator, target, *, seed=0, mark=None, synthetic_only=False, checkpoint_dir=None, force=False
):
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
    checkpoint_dir : str or path-like, optional
        As for the generator's ``fit``.

    Returns
    -------
    DataFrame
        Per label: how many real and synthetic rows are in `out`.
    """
    seed = checked_seed(seed)
    check_output(out, force)
    check_apart(Path(out), [Path(source)])
    table = read_table(source)
    X, y = table.split(target)
    _check_mark(mark, table.frame)
    if read_provenance(source):
        raise InvalidDataError(f"{str(source)!r} holds synthetic rows already. Start from the table of real rows.")
    generator.fit(X, y, checkpoint_dir=checkpoint_dir)
    X_new, y_new = generator.sample(generator.sampling_strategy_, random_state=seed)
    labels = table.spelled(target, y_new) if Path(out).suffix.lower() == ".csv" else y_new
    synthetic = X_new.assign(**{target: labels})[table.frame.columns]
    record = Provenance.of(generator, seed).record(target=target)
    write_table(out, synthetic, real=None if synthetic_only else table, mark=mark, record=record, force=force)
    return balance([] if synthetic_only else y.tolist(), y_new.tolist())


def sample_table(generator, out, n_samples, *, model, seed=0, mark=None, force=False):
    """Write rows that a fitted generator draws; the labels are the last column, under a name that no other column has.

    Parameters
    ----------
    generator : fitted on a table
        The labels' column is named as y was, or else "label"; an underscore is added where that is a column of X.
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
    seed = checked_seed(seed)
    check_output(out, force)
    check_apart(Path(out), [Path(model)])
    frame, target = with_labels(*generator.sample(n_samples, random_state=seed))
    record = Provenance.of(generator, seed, model).record(target=target)
    write_table(out, frame, mark=mark, record=record, force=force)
    return balance([], frame[target].tolist())


def with_labels(X_new, y_new):
    """``(frame, target)``: drawn rows with their labels as the last column, and the name of that column."""
    if not isinstance(X_new, pd.DataFrame):
        X_new = pd.DataFrame(np.asarray(X_new)).rename(columns="x{}".format)
    target = getattr(y_new, "name", None) or "label"
    while target in X_new.columns:
        target = f"{target}_"
    return X_new.assign(**{target: np.asarray(y_new)}), target


def check_output(path, force):
    """Raise unless a table can be written to `path`, and to a file beside it where that is a CSV's."""
    path = Path(path)
    check_suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write the table to.")
    for file in (path, path.with_name(path.name + SIDECAR)) if path.suffix.lower() == ".csv" else (path,):
        if file.is_dir() or (file.exists() and not force):
            raise OutputExistsError(f"{str(file)!r} exists. Name another file, or replace it with force=True.")


def check_suffix(path):
    """Raise unless `path` ends in .csv or .parquet."""
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequestError(f"{str(path)!r} is no table: its name must end in {' or '.join(SUFFIXES)}.")


def _check_mark(mark, frame):
    if mark in frame.columns:
        raise InvalidRequestError(f"mark={mark!r} is already a column. Name another one.")


def _read_csv(path):
    try:
        header = _first_line(path)
        separator = max(SEPARATORS, key=re.sub(r'"[^"]*("|$)', "", header).count)
        names = next(csv.reader([header], delimiter=separator), [])
        if len(names) > MAX_COLUMNS:
            raise InvalidDataError(
                f"{path.name} has {len(names):,} columns; up to {MAX_COLUMNS:,} can be read. Split the table."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            options = {"dtype": str, "keep_default_na": False, "index_col": False}
            cells = pd.read_csv(path, sep=separator, encoding="utf-8-sig", **options)
    except UnicodeDecodeError as error:
        raise InvalidDataError(f"{path.name} is not in UTF-8 ({error}). Save it as UTF-8.") from error
    except InvalidDataError:
        raise
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, csv.Error, ValueError) as error:
        raise InvalidDataError(f"{path.name} cannot be read as CSV: {error}") from error
    cells = cells.fillna("")  # rows that are shorter than the header
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if repeated:  # pandas would rename the second
        raise InvalidDataError(f"{path.name} has several columns {repeated[0]!r}. Give every column its own name.")
    return Table(pd.DataFrame({name: _typed(cells[name]) for name in cells}), cells=cells, separator=separator)


def _first_line(path):
    """The header, at most `LONGEST_HEADER` characters; raises where there are bytes anywhere that no text has."""
    with open(path, "rb") as file:
        while block := file.read(2**20):
            if b"\0" in block:
                raise InvalidDataError(f"{path.name} has NUL bytes, which no CSV has. It may be UTF-16: save it as UTF-8.")
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = file.readline(LONGEST_HEADER)
    if len(header) == LONGEST_HEADER:
        raise InvalidDataError(f"{path.name} has a first line of more than {LONGEST_HEADER:,} characters: it is no table.")
    return header


def _typed(column):
    """A CSV's column of str: as Int64 or float64 where it holds plain numbers, else as text with empty cells missing."""
    missing = column.isin(MISSING)
    given = column[~missing]
    if not len(given) or not _all_numbers(given):
        return column.mask(column == "")
    if given.str.len().max() > LONGEST_NUMBER:
        return column.mask(column == "")
    numbers = pd.to_numeric(given)
    if not missing.any() and numbers.dtype.kind in "iu":
        return numbers
    if numbers.dtype.kind == "i":
        return numbers.astype("Int64").reindex(column.index)
    return numbers.astype(np.float64).reindex(column.index)


def _all_numbers(cells):
    if len(cells) < 1000:  # pandas takes milliseconds for any column, which are minutes for thousands of them
        return all(map(re.compile(NUMBER).fullmatch, cells.tolist()))
    return cells.str.fullmatch(NUMBER).all()


def _write_csv(path, synthetic, real, mark):
    parts = [(synthetic, True)]
    if real is not None:
        parts.insert(0, (real.written, False))
    separator = "," if real is None else real.separator
    with open(path, "w", newline="", encoding="utf-8") as file:
        names = [*synthetic.columns, *([] if mark is None else [mark])]
        others = set(SEPARATORS) - {separator}  # in quotes they mislead nobody about what the separator is
        quoting = csv.QUOTE_ALL if any(others & set(str(name)) for name in names) else csv.QUOTE_MINIMAL
        pd.DataFrame(columns=names).to_csv(file, sep=separator, index=False, quoting=quoting)
        for rows, is_synthetic in parts:
            rows = rows if mark is None else rows.assign(**{mark: is_synthetic})
            rows.to_csv(file, sep=separator, index=False, header=False)
