"""Is it good, does it help: one HTML file that answers, for a table with a rare class.

    python examples/report.py [--splits 5] [--out outputs/report.html]

Real data: 1,000 loan applicants (German credit). A generator learns from 600 of them; the other 400 say how good its rows are.
Then rebalancing with a generator competes with class weights, random oversampling and SMOTE, on the same splits.
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

from augment_gen import ConditionalVAE
from augment_gen.evaluation import compare, evaluate
from augment_gen.report import report


def load():
    table = pd.read_csv(Path(__file__).parent / "data" / "german_credit.csv", keep_default_na=False, na_values=[""])
    return table.drop(columns="credit"), table["credit"]


def main(n_splits=5, out="outputs/report.html", **params):
    X, y = load()
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
    generator = ConditionalVAE(random_state=0, device="cpu", **params).fit(X_train, y_train)
    generation = evaluate(generator, X_test, y_test, X_train=X_train, y_train=y_train, random_state=0, verbose=1)
    augmenter = ConditionalVAE(device="cpu", **params)
    comparison = compare(augmenter, None, X, y, cv=n_splits, n_repeats=1, inner_cv=2, verbose=1)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    path = report(
        out,
        generation=generation,
        comparison=comparison,
        generator=generator,
        X_train=X_train,
        y_train=y_train,
        title="German credit: synthetic applicants",
        intended_use="Training classifiers of credit risk, beside the real rows.",
        limits="Applicants of one German bank before 1994: nothing is known about others.",
    )
    print(f"\n{generation.verdict}\n\n{comparison.verdict}\n\nReport: {path}")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=5, help="of the comparison")
    parser.add_argument("--out", default="outputs/report.html")
    arguments = parser.parse_args()
    main(arguments.splits, arguments.out)
