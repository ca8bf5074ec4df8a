"""Each page in a real browser: what a person sees, and what a hostile file cannot do.

Before a web process alone: nothing trains and nothing answers, runs stay in the line.
"""

from pathlib import Path

import pytest
from openpyxl import Workbook
from playwright.sync_api import Browser, Dialog, Page, expect

from studio.core.run_state import RunStatus
from studio.services import datasets, runs
from studio.store import metrics
from studio.store import runs as rows
from tests.journeys.conftest import Open, Site

pytestmark = pytest.mark.slow

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    "${alert(3)}",
    "{{constructor.constructor('alert(4)')()}}",
    '"><svg onload=alert(5)>',
    "[x](javascript:alert(6)) ![y](http://evil.example/y.png)",
    "</textarea><iframe src=javascript:alert(7)>",
]


@pytest.fixture
def shelves(tmp_path: Path) -> Path:
    """60 rows, two of them without an answer."""
    path = tmp_path / "shelves.csv"
    lines = [f"Where is item {n}?,{'' if n in (7, 9) else f'On shelf {n}.'}" for n in range(60)]
    path.write_text("question,answer\n" + "\n".join(lines) + "\n")
    return path


def give(page: Page, path: Path) -> None:
    page.locator("#examples-file input[type=file]").set_input_files(path)


def test_a_file_is_understood_and_shown_as_the_model_will_see_it(open_page: Open, shelves: Path) -> None:
    page = open_page("/")
    expect(page.get_by_role("button", name="Add your examples")).to_be_disabled()
    give(page, shelves)
    expect(page.get_by_text("58 examples. Question = question, answer = answer.")).to_be_visible()
    expect(page.locator(".talk")).to_have_count(3)
    expect(page.locator(".talk").first).to_contain_text("On shelf 0.")
    page.get_by_text("2 rows left out").click()
    expect(page.get_by_text("Rows 9, 11: has a question but no answer")).to_be_visible()
    expect(page.locator("#plan")).to_contain_text("52 to learn from · 6 held back to check")
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()


def test_columns_without_telling_names_are_asked_for(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("left,middle,right\n" + "".join(f"ask {n},note {n},say {n}\n" for n in range(20)))
    page = open_page("/")
    give(page, path)
    expect(page.get_by_text("No column looks like")).to_be_visible()
    expect(page.get_by_role("button", name="Look at your examples")).to_be_disabled()
    for label, column in (("The question is in", "left"), ("The answer is in", "right")):
        page.get_by_label(label).click()
        page.get_by_role("option", name=column).click()
        expect(page.get_by_role("option")).to_have_count(0)  # it fades out
    expect(page.get_by_text("20 examples. Question = left, answer = right.")).to_be_visible()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()


def test_a_workbook_s_other_sheet_is_chosen_and_a_question_put_together(open_page: Open, tmp_path: Path) -> None:
    workbook = Workbook()
    workbook.active.title = "Prices"
    workbook.active.append(["item", "price"])
    workbook.active.append(["Bell", 3])
    sheet = workbook.create_sheet("Questions")
    sheet.append(["product", "question", "answer"])
    for n in range(20):
        sheet.append(["Bell", f"How loud is it at {n}?", f"{n} rings."])
    workbook.save(tmp_path / "shop.xlsx")
    page = open_page("/", width=390)
    give(page, tmp_path / "shop.xlsx")
    expect(page.locator("#summary")).to_contain_text("No column looks like the answer")
    page.get_by_label("Sheet").click()
    page.get_by_role("option", name="Questions").click()
    expect(page.get_by_text("20 examples. Question = question, answer = answer.")).to_be_visible()
    together = page.get_by_label("Or put the question together from columns")
    together.fill("{product}: {question}")  # the answer to the sheet is still being drawn, and must not undo it
    together.press("Enter")
    expect(page.locator(".talk").first).to_contain_text("Bell: How loud is it at 0?")
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pasted_rows_are_read_and_their_shape_can_be_changed(open_page: Open) -> None:
    page = open_page("/")
    page.get_by_role("button", name="Paste rows, or fetch a data set").click()
    rows = "".join(f"Mail {n} about a parcel\t{('late', 'lost')[n % 2]}\n" for n in range(20))
    page.get_by_label("Rows copied from a spreadsheet").fill("text\tcategory\n" + rows)
    page.get_by_role("button", name="Use these rows").click()
    expect(page.get_by_text("20 examples. Text = text, label = category. 2 labels;")).to_be_visible()
    expect(page.locator(".talk").first).to_contain_text("Answer with one of these labels: late, lost.")
    page.get_by_role("button", name="Change columns").click()
    page.get_by_label("Your examples are").click()
    page.get_by_role("option", name="Plain text").click()
    expect(page.locator("#summary")).to_contain_text("pieces of text")
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()


def test_a_data_set_is_fetched_by_its_id_and_a_hub_that_does_not_answer_is_said(open_page: Open, site: Site) -> None:
    page = open_page("/")
    page.get_by_role("button", name="Paste rows, or fetch a data set").click()
    named = page.get_by_label("Or a data set's id on the Hugging Face hub")
    named.fill("acme/bells")
    page.get_by_role("button", name="Fetch it").click()
    expect(page.locator("#summary")).to_contain_text("acme/bells was not found")
    named.fill("acme/clocks")
    page.get_by_role("button", name="Fetch it").click()
    expect(page.get_by_text("12 examples. Question = question, answer = answer.")).to_be_visible()
    expect(page.locator(".talk").first).to_contain_text("Hello")
    site.hub.close()
    page.get_by_role("button", name="Fetch it").click()
    expect(page.locator("#summary")).to_contain_text("acme/clocks could not be fetched from 127.0.0.1")
    expect(page.locator("#summary")).to_contain_text("Check the connection")
    expect(page.locator("#start")).to_be_disabled()


def test_lines_that_are_not_quite_json_are_fixed_on_demand(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "almost.jsonl"
    path.write_text('{"question": "Why?", "answer": "Because."}\n' * 12 + "{'question': 'How?', 'answer': 'So.',}\n")
    page = open_page("/")
    give(page, path)
    expect(page.get_by_text("12 examples.")).to_be_visible()
    expect(page.locator(".mendings")).to_contain_text('becomes {"question": "How?", "answer": "So."}')
    page.get_by_role("button", name="Fix 1 line for me").click()
    expect(page.get_by_text("13 examples.")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"question,answer\n", "has a header but no rows"),
        ("table.csv", b"PK\x03\x04rest", "table.csv is damaged"),
        ("notes.docx", b"hello", "is named .docx, but is not really a Word document"),
        ("nine.csv", b"question,answer\n" + b"q?,a\n" * 9, "9 examples are too few"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(
    open_page: Open, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    page = open_page("/")
    give(page, path)
    expect(page.locator("#summary")).to_contain_text(sentence)
    expect(page.locator("#start")).to_be_disabled()


def test_nonsense_in_the_settings_is_explained_and_starts_nothing(open_page: Open, site: Site) -> None:
    page = open_page("/")
    page.get_by_role("button", name="Use the sample").click()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("LoRA rank").fill("10000000")
    expect(page.locator("#problems")).to_contain_text("LoRA rank (rank) must be a whole number from 1 to 256")
    page.get_by_label("LoRA rank").fill("0")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#problems")).to_contain_text("“0” is not")
    page.get_by_label("LoRA rank").fill("4")
    expect(page.locator("#problems")).to_be_empty()
    assert page.url.endswith("/")


def test_another_preset_fills_the_settings_and_says_so(open_page: Open) -> None:
    page = open_page("/")
    page.get_by_role("button", name="Use the sample").click()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("LoRA rank").fill("5")
    expect(page.locator("#changes")).to_contain_text("1 changed setting")
    page.get_by_role("radio", name="Quick").check()
    expect(page.get_by_text("your own changes are gone")).to_be_visible()
    expect(page.get_by_label("LoRA rank")).to_have_value("8")


def test_a_reload_keeps_what_was_chosen(open_page: Open, shelves: Path) -> None:
    page = open_page("/")
    give(page, shelves)
    expect(page.locator(".talk")).to_have_count(3)
    page.get_by_role("radio", name="Thorough").check()
    page.get_by_label("Name (optional)").fill("Shelf helper")
    page.wait_for_function("window.studioDraft.preset === 'thorough' && window.studioDraft.name === 'Shelf helper'")
    page.reload()
    expect(page.get_by_text("58 examples.")).to_be_visible()
    expect(page.get_by_role("radio", name="Thorough")).to_be_checked()
    expect(page.get_by_label("Name (optional)")).to_have_value("Shelf helper")


def test_train_again_brings_back_everything_a_run_was_started_with(open_page: Open, site: Site, shelves: Path) -> None:
    upload_id = datasets.keep_upload(site.studio, shelves, "shelves.csv")
    run = runs.start(site.studio, upload_id, None, "starter", {"preset": "quick", "rank": 4}, name="Shelf helper")
    runs.stop(site.studio, run.id, discard=True)
    page = open_page(f"/run?id={run.id}")
    page.get_by_role("link", name="Train again").click()
    expect(page.get_by_text("58 examples.")).to_be_visible()
    expect(page.get_by_role("radio", name="Quick")).to_be_checked()
    expect(page.get_by_label("Name (optional)")).to_have_value("Shelf helper")
    page.get_by_role("button", name="More settings").click()
    expect(page.get_by_label("LoRA rank")).to_have_value("4")


def test_two_clicks_start_one_run(open_page: Open, site: Site) -> None:
    studio = site.studio
    before = len(runs.every(studio))
    page = open_page("/")
    page.get_by_role("button", name="Use the sample").click()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    page.get_by_role("button", name="Start training").dblclick()
    page.wait_for_url("**/run?id=*")
    expect(page.locator(".headline")).to_contain_text("Waiting")
    assert len(runs.every(studio)) == before + 1
    page.goto("/")
    expect(page.get_by_role("button", name="Add your examples")).to_be_disabled()


@pytest.mark.parametrize("path", ["/run?id=999", "/run?id=../../etc", "/run", "/run?id=%3Cscript%3E"])
def test_an_unknown_run_is_a_sentence(open_page: Open, path: str) -> None:
    page = open_page(path)
    expect(page.get_by_role("alert")).to_contain_text("There is no run")
    expect(page.get_by_role("link", name="My models").last).to_be_visible()


def test_chat_without_an_engine_says_so(open_page: Open) -> None:
    page = open_page("/chat?run=999")
    expect(page.get_by_text("Run 999 has no model to chat with.")).to_be_visible()
    page.get_by_label("Your question").fill("Hello?")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("The chat engine is not running")).to_be_visible()
    expect(page.get_by_label("Your question")).to_have_value("Hello?")


def test_hostile_text_stays_text(open_page: Open, site: Site, tmp_path: Path) -> None:
    studio = site.studio
    path = tmp_path / "evil.csv"
    quoted = ['"' + text.replace('"', '""') + '"' for text in HOSTILE]
    path.write_text("question,answer\n" + "".join(f"{q},{q}\n" for q in quoted * 3))
    named = tmp_path / "<img src=x onerror=alert(8)>.csv"
    named.write_bytes(path.read_bytes())
    page = open_page("/")
    give(page, named)
    expect(page.locator(".talk")).to_have_count(3)
    expect(page.locator(".talk").first).to_contain_text(HOSTILE[0])

    upload = datasets.keep_upload(studio, named, named.name)
    run = runs.start(studio, upload, None, "starter", {}, name=HOSTILE[0])
    claim = rows.claim(studio.db, run.id)
    assert claim
    with studio.db.writing() as session:
        metrics.write(session, run.id, [{"step": n, "train_loss": 4.0 - n, "validation_loss": 4.0} for n in range(3)])
        metrics.write_samples(
            session,
            run.id,
            [
                {"step": step, "position": n, "question": text, "expected": text, "answer": text}
                for n, text in enumerate(HOSTILE)
                for step in (0, 2)
            ],
        )
    studio.home.log(run.id).parent.mkdir(parents=True, exist_ok=True)
    studio.home.log(run.id).write_text("\n".join(HOSTILE))
    rows.move(
        studio.db, run.id, RunStatus.FAILED, error_message=HOSTILE[1], error_hint=HOSTILE[4], error_detail=HOSTILE[0]
    )
    page.goto(f"/run?id={run.id}")
    expect(page.get_by_role("heading", name=HOSTILE[0])).to_be_visible()
    expect(page.locator(".samples tbody tr")).to_have_count(len(HOSTILE))
    expect(page.locator(".chart-legend").first).to_be_visible()
    page.goto("/models")
    expect(page.get_by_role("link", name=HOSTILE[0])).to_be_visible()
    page.wait_for_timeout(500)  # for whatever might run late; `open_page` fails on it


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/models", "/chat", "/storage", "/run?id=1"])
def test_nothing_scrolls_sideways_on_a_phone(open_page: Open, path: str, scheme: str) -> None:
    page = open_page(path, width=390, scheme=scheme)
    expect(page.get_by_role("link", name="My models").first).to_be_visible()
    if path == "/":
        page.get_by_role("button", name="Use the sample").click()
        expect(page.locator(".talk")).to_have_count(3)
        page.get_by_role("button", name="More settings").click()
        expect(page.get_by_label("LoRA rank")).to_be_visible()
    page.wait_for_timeout(500)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


@pytest.mark.parametrize("width", [1280, 390])
def test_storage_asks_with_name_and_size_before_it_deletes(
    site: Site, browser: Browser, shelves: Path, width: int
) -> None:
    studio = site.studio
    upload = datasets.keep_upload(studio, shelves, shelves.name)
    run = runs.start(studio, upload, None, "starter", {}, name=HOSTILE[0])
    assert rows.move(studio.db, run.id, RunStatus.FAILED)
    studio.home.run(run.id).mkdir()
    studio.home.log(run.id).write_bytes(bytes(3 * 2**20))
    context = browser.new_context(base_url=site.address, viewport={"width": width, "height": 844}, locale="en-US")
    page, answers, asked = context.new_page(), [False, True], []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if answers.pop(0) else dialog.dismiss()

    page.on("dialog", answer)
    page.goto("/storage")
    name = f"{HOSTILE[0]} (run {run.id})"
    button = page.get_by_role("button", name=f"Delete: {name}")
    button.click()
    assert asked[0].startswith(f"Delete {name}, 3.0 MB?")
    assert studio.home.run(run.id).is_dir()
    button.click()
    expect(page.get_by_text(f"Deleted: {name}, 3.0 MB.")).to_be_visible()
    expect(button).to_have_count(0)
    assert not studio.home.run(run.id).exists()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
