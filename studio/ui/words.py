"""Numbers as people say them."""

from datetime import datetime


def duration(seconds: float) -> str:
    """“about 6 min”, “less than a minute”."""
    if seconds < 50:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours >= 10:
        return f"about {round(minutes / 60)} hours"
    return f"about {hours} h {rest} min" if rest else f"about {hours} h"


def moment(seconds_since_1970: float) -> str:
    """“22 Nov 2026, 14:05”, in the studio's own time zone."""
    then = datetime.fromtimestamp(seconds_since_1970)
    return f"{then.day} {then:%b %Y, %H:%M}"


def loss(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def size(size_bytes: int) -> str:
    if size_bytes >= 2**30:
        return f"{size_bytes / 2**30:,.1f} GB"
    return f"{size_bytes / 2**20:,.1f} MB" if size_bytes >= 2**19 else f"{size_bytes / 2**10:,.0f} KB"


def count(number: int, noun: str, plural: str = "") -> str:
    """“1 example”, “1,050 examples”."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def passes(number: float) -> str:
    """“about 5 passes”, “less than one pass”."""
    if number < 0.95:
        return "less than one pass"
    shown = f"{round(number, 1):g}"
    return f"about {shown} pass" if shown == "1" else f"about {shown} passes"
