"""What is in a model file, a class folder or a table, in words.

Enters: a path. Leaves: a text of a few lines, and a table of the classes or columns.
"""

from collections import Counter

import pandas as pd

from augment_gen.codecs import ImageCodec
from augment_gen.generators.keeping import load
from augment_gen.pipelines.folders import scan_image_folder
from augment_gen.pipelines.output_folder import progress
from augment_gen.pipelines.provenance import file_hash, read_provenance
from augment_gen.pipelines.tables import read_table


def describe_model(path):
    """Of a model file: what it draws, and per class what it was trained on and how it is modelled."""
    generator = load(path)
    codec = generator.codec_
    if isinstance(codec, ImageCodec):
        channels, height, width = codec.format_.size
        draws = f"images of {height} x {width} pixels, {_plural(channels, 'channel')}, {codec.format_.dtype_name}"
    else:
        y = generator.sample(0)[1]
        target = f", target {y.name!r}" if getattr(y, "name", None) else ""
        draws = f"tables of {_plural(generator.n_features_in_, 'column')}{target}"
    report = generator.latent_report_.to_string(index=False, na_rep="", float_format="{:.3f}".format)
    lines = [f"{type(generator).__name__}: draws {draws}", f"sha256: {file_hash(path)}", "", report]
    spent = getattr(generator, "privacy_report_", None)
    if spent is not None:
        text = f"differentially private: epsilon {spent.epsilon:.3g}, delta {spent.delta:.3g}; the counts above are noisy"
        lines += ["", text, spent.to_frame().to_string(index=False, na_rep="", float_format="{:.3g}".format)]
    return "\n".join(lines)


def describe_folder(path):
    """Of a class folder: sizes, depths, and per class how many images are real, synthetic and unreadable."""
    files, failed, ignored = scan_image_folder(path)
    sizes = Counter(f"{file.height} x {file.width}" for file in files)
    kinds = Counter(f"{file.bands} {file.bits} bit" for file in files)
    labels = [file.label for file in files] + [file.relative_to(path).parts[0] for file in failed]
    states = ["synthetic" if file.synthetic else "real" for file in files] + ["unreadable"] * len(failed)
    table = pd.crosstab(pd.Series(labels, name="label"), pd.Series(states, name=None))
    lines = [f"{_plural(len(files), 'image')} in {_plural(table.shape[0], 'class', 'classes')}"]
    for title, counts in (("size", sizes), ("kind", kinds)):
        lines.append(f"{title}: " + ", ".join(f"{kind} ({n})" for kind, n in counts.most_common(5)))
    lines += [f"unreadable: {file}: {why}" for file, why in list(failed.items())[:10]]
    if ignored:
        lines.append(f"ignored: {_plural(len(ignored), 'other file')}")
    if progress(path):
        lines.append("unfinished: {} of {} files are written; the same command goes on".format(*progress(path)))
    return "\n".join([*lines, "", table.rename_axis(columns=None).reset_index().to_string(index=False)])


def describe_table(path, target=None):
    """Of a CSV or Parquet file: its columns; with `target` the classes; and the provenance that it carries."""
    table = read_table(path)
    frame = table.frame
    lines = [f"{_plural(len(frame), 'row')}, {_plural(frame.shape[1], 'column')}"]
    record = read_provenance(path)
    if record and "synthetic_rows" in record:
        lines.append(
            f"synthetic: {record['synthetic_rows']} rows, from row {record.get('first_synthetic_row')} (counted from 0), drawn "
            f"by {record.get('generator')} of {record.get('software')} with seed {record.get('seed')}"
        )
    if target is not None:
        counts = table.split(target)[1].value_counts(dropna=False)
        return "\n".join([*lines, "", counts.rename_axis(target).rename("rows").reset_index().to_string(index=False)])
    columns = {"column": frame.columns, "dtype": frame.dtypes.astype(str), "missing": frame.isna().sum()}
    columns["distinct"] = [frame[name].astype(str).nunique() for name in frame]
    return "\n".join([*lines, "", pd.DataFrame(columns).to_string(index=False)])


def _plural(n, word, plural=None):
    return f"{n} {word}" if n == 1 else f"{n} {plural or word + 's'}"
