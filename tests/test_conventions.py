"""Every generator of tables passes scikit-learn's and imbalanced-learn's own suites of checks.

Those suites hand over 2-D arrays only; scikit-learn itself leaves out what needs images, by the tag ``two_d_array``.
"""

import pytest
from imblearn.utils.estimator_checks import check_dataframe_column_names_consistency, check_param_validation
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks

from augment_gen.generators import GENERATORS, IMAGES_ONLY

# some of scikit-learn's checks hand over classes of one row, which is refused by default
INSTANCES = [
    generator(max_steps=2, min_class_size=1, random_state=0, device="cpu")
    for name, generator in GENERATORS.items()
    if name not in IMAGES_ONLY
]


pytestmark = pytest.mark.filterwarnings("ignore::augment_gen.errors.SmallClassWarning")


@sklearn_checks(INSTANCES)
def test_sklearn(estimator, check):
    check(estimator)


@imblearn_checks(INSTANCES)
def test_imblearn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", INSTANCES, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("check", [check_param_validation, check_dataframe_column_names_consistency])
def test_imblearn_checks_that_are_not_yielded(estimator, check):
    check(type(estimator).__name__, estimator)
