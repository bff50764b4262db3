"""Numbers and times in words: rates in percent, a true minus sign, as many digits as mean something."""

from datetime import datetime

from eval_suite.core.records import GitState

_MINUS = "\u2212"
RATE = "fraction"


def number(value: float, unit: str) -> str:
    """A value without its unit: percent with two decimals for rates, else three decimals."""
    return signed(value, unit).removeprefix("+")


def signed(value: float, unit: str) -> str:
    """A difference, always with its sign."""
    text = _decimals(value, unit)
    bare = text.lstrip("-")
    if not bare.strip("0."):
        return bare
    return (_MINUS if text.startswith("-") else "+") + bare


def bounds(interval: tuple[float, float], unit: str) -> str:
    """An interval in brackets."""
    return f"[{number(interval[0], unit)}, {number(interval[1], unit)}]"


def signed_bounds(interval: tuple[float, float], unit: str) -> str:
    """An interval of a difference."""
    return f"[{signed(interval[0], unit)}, {signed(interval[1], unit)}]"


def unit_label(unit: str) -> str:
    """The unit as a table's head shows it."""
    return "%" if unit == RATE else unit


def with_unit(value: float, unit: str) -> str:
    """A value with its unit, for running text."""
    return f"{number(value, unit)} {unit_label(unit)}".rstrip()


def difference_with_unit(value: float, unit: str) -> str:
    """The size of a difference in running text; differences of percentages are points."""
    return f"{number(abs(value), unit)} {'points' if unit == RATE else unit}".rstrip()


def direction(higher_is_better: bool) -> str:
    """An arrow with its meaning."""
    return "↑ higher is better" if higher_is_better else "↓ lower is better"


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(started: str) -> str:
    """A record's start time as date, minute and zone; unchanged where it is no ISO time."""
    try:
        parsed = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{parsed:%Y-%m-%d %H:%M} {parsed.tzname() or ''}".strip()


def source_state(git: GitState) -> str:
    """The commit a record was made from."""
    if not git.commit:
        return "no commit known"
    return git.commit[:10] + (" with uncommitted changes" if git.dirty else "")


def listed(names: list[str]) -> str:
    """Names as running text: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def counted(n: int, noun: str) -> str:
    """A number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _decimals(value: float, unit: str) -> str:
    if unit == RATE:
        return f"{100 * value:.2f}"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.0f}"
