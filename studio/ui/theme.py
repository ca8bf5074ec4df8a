"""How the studio looks: Gradio's Origin theme in teal and slate, with contrast that passes WCAG AA, light and dark."""

from pathlib import Path

import gradio as gr

ASSETS = Path(__file__).parents[2] / "assets"
ASSETS_URL = "/studio-assets"


def theme() -> gr.themes.Base:
    """System fonts only, so that no page asks another machine for anything."""
    return gr.themes.Origin(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_border_color="*primary_700",
        button_primary_border_color_dark="*primary_700",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_dark="#b91c1c",
        button_cancel_text_color="white",
        button_cancel_text_color_dark="white",
    )


def head() -> str:
    """Scripts and styles of ours."""
    return "\n".join(
        (
            f'<link rel="icon" type="image/svg+xml" href="{ASSETS_URL}/logo.svg">',
            f'<link rel="stylesheet" href="{ASSETS_URL}/vendor/uplot/uPlot.min.css">',
            f'<script src="{ASSETS_URL}/vendor/uplot/uPlot.iife.min.js"></script>',
            f'<script type="module" src="{ASSETS_URL}/studio.js"></script>',
        )
    )


def stylesheet() -> Path:
    return ASSETS / "studio.css"
