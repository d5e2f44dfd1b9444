"""One test for every returned value of every kind of case: pytest --submission=FILE; see README.md."""

from npresnet.grading.pytest_plugin import check_cell


def test_public(coursework_cell):
    check_cell(coursework_cell)
