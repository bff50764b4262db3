"""One section per task, in reading order; a task without one is shown whole and plain."""

from eval_suite.report.sections.caption import SECTION as CAPTION
from eval_suite.report.sections.classify import SECTION as CLASSIFY
from eval_suite.report.sections.detect import SECTION as DETECT
from eval_suite.report.sections.ood import SECTION as OOD
from eval_suite.report.sections.robustness import SECTION as ROBUSTNESS
from eval_suite.report.sections.section import Section
from eval_suite.report.sections.wsol import SECTION as WSOL

SECTIONS: dict[str, Section] = {
    section.task: section for section in (CLASSIFY, WSOL, DETECT, CAPTION, ROBUSTNESS, OOD)
}
