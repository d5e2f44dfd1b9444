"""Options and markers of the tests, such as --submission=FILE and -m task1_1; see README.md."""

pytest_plugins = ["npresnet.grading.pytest_plugin"]
