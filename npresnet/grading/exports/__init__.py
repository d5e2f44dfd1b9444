"""The coursework in other systems: Gradescope, Otter-Grader, nbgrader."""
