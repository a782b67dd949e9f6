"""Parquet files as frames, and back in the types that they had.

Enters: a ``.parquet`` file, or synthetic rows. Leaves: a frame to learn from beside the table as it is stored, or a file.
"""

import json

import numpy as np

from augment_gen.errors import InvalidDataError
from augment_gen.persistence import written_aside
from augment_gen.pipelines.provenance import KEY

LEAST_LIMIT, TIMES_FILE = 2**30, 100  # bytes in memory that any file may take, or so many times its own
VALUE_BYTES = 16  # of one value in memory, at most, texts apart


def read_parquet(path):
    """``(frame, table)``: what to learn from, and the pyarrow.Table as it is stored."""
    pyarrow, parquet = _pyarrow()
    try:
        arrow = _decoded(parquet, path)
        frame = arrow.cast(_as_learned(pyarrow, arrow.schema)).to_pandas()
        return frame.reset_index(drop=True), arrow
    except InvalidDataError:
        raise
    except pyarrow.ArrowException as error:
        raise InvalidDataError(f"{path.name} cannot be read as Parquet: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # what pandas wrote about itself into the file can be damaged in any way
        raise InvalidDataError(f"{path.name} cannot be read as Parquet ({type(error).__name__}: {error})") from error


def _decoded(parquet, path):
    """The pyarrow.Table in a file; raises where that is far larger than the file, before it takes the memory."""
    with parquet.ParquetFile(path) as file:
        limit = max(LEAST_LIMIT, TIMES_FILE * path.stat().st_size)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        values = sum(max(group.column(i).num_values, group.num_rows) for group in groups for i in range(group.num_columns))
        _check_size(path, VALUE_BYTES * values, limit)
        schema = file.schema_arrow
    # texts as numbers of distinct ones: a page of 100 bytes can say that one long text stands in a million rows
    texts = [field.name for field in schema if _is_text(field.type)]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        arrow = file.read()
    _check_size(path, sum(_text_bytes(arrow[i]) for i, field in enumerate(schema) if _is_text(field.type)), limit)
    return arrow.cast(schema)


def _check_size(path, n_bytes, limit):
    if n_bytes > limit:
        raise InvalidDataError(
            f"{path.name} would take {n_bytes / 2**30:,.1f} GB in memory, too much for a file of its size. If that is right, "
            "write it without compression."
        )


def _is_text(kind):
    types = _pyarrow()[0].types
    known = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(is_kind(kind) for is_kind in known)


def _text_bytes(column):
    """Bytes of a column's texts when each stands for itself."""
    from pyarrow import compute

    total = 0
    for chunk in column.chunks:
        if len(chunk) and hasattr(chunk, "dictionary"):
            lengths = compute.binary_length(chunk.dictionary).cast("int64")
            counts = compute.value_counts(chunk.indices.drop_null())
            of_each = compute.take(lengths, counts.field("values"))
            total += compute.sum(compute.multiply(of_each, counts.field("counts").cast("int64"))).as_py() or 0
    return total


def _as_learned(pa, schema):
    """The schema with float64 for decimals, which pandas has no type for."""
    plain = [field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field for field in schema]
    return pa.schema(plain, schema.metadata)


def check_types(arrow, frame):
    """Refuse columns that no generator could learn and keep in a file."""
    types = _pyarrow()[0].types
    known = (
        types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_string, types.is_large_string,
        types.is_string_view, types.is_date, types.is_timestamp, types.is_duration, types.is_null,
    )  # fmt: skip
    for field in arrow.schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if field.name in frame.columns and not any(is_kind(kind) for is_kind in known):
            raise InvalidDataError(
                f"The column {field.name!r} is of type {field.type}, which cannot be learned from. Make it text or numbers, or "
                "drop it."
            )


def write_parquet(path, synthetic, real, mark, record):
    """Write a frame behind a `Table` of real rows, where there is one; `record` goes into the file's metadata."""
    pa, parquet = _pyarrow()
    if real is None:
        table = pa.Table.from_pandas(synthetic, preserve_index=False)
    else:
        first = pa.Table.from_pandas(real.frame, preserve_index=False) if real.arrow is None else real.arrow
        # a column that pandas took for the index is nothing to learn from, and empty in synthetic rows
        fields = [field for field in first.schema if field.name in synthetic.columns]
        schema = pa.schema(fields)
        drawn = pa.Table.from_pandas(synthetic, schema=_as_learned(pa, schema), preserve_index=False).cast(schema)
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
