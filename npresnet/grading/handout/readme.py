"""The two READMEs: for students what to do and how to test it, for teachers how to mark it."""

from __future__ import annotations

from importlib import resources

from ..assignment import Assignment
from ..texts import Texts
from .stubs import INTRODUCTION, rules
from .titles import CHAPTERS, TITLES, points_text

HIDDEN = (
    "The tests that you have are the public ones. {share} of the points are decided by hidden tests: the same kinds of "
    "cases with other sizes and numbers. That all public tests pass is a good sign and no promise of full marks."
)
"""For students."""
NOT_HIDDEN = "There are no hidden tests: what you see is what is marked."
TEACHER_HIDDEN = (
    "{share} of the points are decided by hidden cases. They are of the same kinds as the public ones and follow from "
    "`seed`; students know that there are hidden cases, and of those that fail they are told as much as `feedback` "
    "says."
)
TEACHER_NOT_HIDDEN = "There are no hidden cases (`hidden_share = 0`): students can see everything that is marked."


def student_readme(assignment: Assignment) -> str:
    """The README of the folder that is handed out."""
    t = Texts(assignment.language)
    parts = assignment.parts()
    share = _percent(assignment.hidden_share)
    return t.document(
        _template("student.md"),
        title=assignment.title,
        introduction=t(INTRODUCTION),
        rules="\n".join(f"- {rule}" for rule in rules(assignment)),
        file=assignment.file,
        notebook=notebook_name(assignment),
        table=task_table(assignment),
        total=points_text(sum(part.points for part in parts)),
        marker=f"task{parts[0].task.replace('.', '_')}",
        task=parts[0].task,
        function=parts[0].name,
        hidden=t(HIDDEN, share=share) if assignment.hidden_share else t(NOT_HIDDEN),
        seconds=f"{assignment.seconds:g}",
        memory=str(assignment.memory_mb),
    )


def teacher_readme(assignment: Assignment) -> str:
    """The README of the folder that stays with the teacher."""
    t = Texts(assignment.language)
    share = _percent(assignment.hidden_share)
    return t.document(
        _template("teacher.md"),
        title=assignment.title,
        file=assignment.file,
        total=points_text(sum(part.points for part in assignment.parts())),
        hidden=t(TEACHER_HIDDEN, share=share) if assignment.hidden_share else t(TEACHER_NOT_HIDDEN),
    )


def notebook_name(assignment: Assignment) -> str:
    """The name of the notebook that may be handed in."""
    return assignment.file.removesuffix(".py") + ".ipynb"


def task_table(assignment: Assignment) -> str:
    """All tasks that are set, as a table in Markdown."""
    t = Texts(assignment.language)
    lines = [f"| {t('Task')} | {t('Function')} | | {t('Points')} |", "|---|---|---|---:|"]
    chapter = ""
    for part in assignment.parts():
        number = part.task.split(".")[0]
        if number != chapter:
            lines.append(f"| **{number}** | | **{t(CHAPTERS[number])}** | |")
        chapter = number
        name = f"`{part.name}`" if part.stand_ins else ""
        lines.append(f"| {part.task} | {name} | {t(TITLES[part.name])} | {points_text(part.points)} |")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _template(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
