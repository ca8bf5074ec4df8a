"""Where Gradio puts what a browser sends, until `services` have kept a copy."""

from pathlib import Path

from studio.services.context import Studio


def received_folder(studio: Studio) -> Path:
    folder = studio.home.path / "received"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def received(studio: Studio, given: list[str] | str | None) -> list[Path]:
    """The files that an upload named; none if one of them lies elsewhere."""
    paths = [Path(path) for path in ([given] if isinstance(given, str) else given or [])]
    # Gradio checks this too, but not in every version and way of starting it
    inside = all(path.resolve().is_relative_to(received_folder(studio)) for path in paths)
    return paths if inside else []
