"""One section per task, in reading order; a task without one is shown whole and plain."""

from eval_suite.report.sections.caption import SECTION as CAPTION
from eval_suite.report.sections.classify import SECTION as CLASSIFY
from eval_suite.report.sections.section import Section

SECTIONS: dict[str, Section] = {"classify": CLASSIFY, "caption": CAPTION}
