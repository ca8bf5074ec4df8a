from time import process_time

import pytest

from studio.diagnostics.texts import CHECKS, found_in

FOUND = {
    "mojibake": ["CafÃ© ist schÃ¶n", "donâ€™t do it"],
    "lost_characters": ["caf\ufffd"],
    "html": ["one<br>two", "<p class='x'>Hello</p>", "fish &amp; chips", "a&nbsp;b"],
    "placeholders": ["Dear {{ name }}, hello", "{{first.name}}"],
    "template_tokens": ["Hi<|im_end|>", "[INST] Hi [/INST]", "Yes.</s>", "<start_of_turn>user", "<<SYS>> be nice"],
    "secrets": [
        "use sk-abcdefghijklmnopqrstuv12",
        "AKIAIOSFODNN7EXAMPLE",
        "password: Tr0ub4dor3",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
    "emails": ["write to ann.b+c@mail.example.org."],
    "phones": ["+49 30 1234567", "call 0171 2345678 now", "(555) 123-4567", "555-223-4567"],
    "cards": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
}
CLEAN = {
    "mojibake": ["Café, schön, naïve, señor – “ça va”", "Привет, как дела?"],
    "lost_characters": ["café"],
    "html": ["x < y and y > z", "AT&T and R&D", "```html\n<br>\n```", "if (a<b) print"],
    "placeholders": ["{name}", "a set {{1, 2}, {3}}", "{{}}"],
    "template_tokens": ["a < b | c > d", "[INSTALL]", "an <s>old</s> price"],
    "secrets": ["How do I reset my password?", "The key: under the mat.", "The password is: password", "sk-8 skates"],
    "emails": ["user@localhost", "meet @ noon", "a@b"],
    "phones": [
        "on 2024-01-05 10:30",
        "3000-1000-750",
        "200 - 40 - 60 - 20 = 80",
        "1,234,567,890",
        "192.168.100.200",
        "3.14159265358979",
        "item 123456789",
    ],
    "cards": ["4111 1111 1111 1112", "2000000-400000", "1234567890123456", "0000 0000 0000 0000"],
}


@pytest.mark.parametrize(("check", "text"), [(c, t) for c, texts in FOUND.items() for t in texts])
def test_what_is_wrong_is_found(check: str, text: str) -> None:
    assert check in found_in(text)


@pytest.mark.parametrize(("check", "text"), [(c, t) for c, texts in CLEAN.items() for t in texts])
def test_what_is_right_is_left_alone(check: str, text: str) -> None:
    assert check not in found_in(text)


@pytest.mark.parametrize(
    ("check", "text", "fixed"),
    [
        ("mojibake", "CafÃ© â€“ schÃ¶n", "Café – schön"),
        ("html", "<p>Fish &amp; chips<br/>and&nbsp;peas</p><script>x()</script>", "Fish & chips\nand peas"),
        ("template_tokens", "<|im_start|>assistant\nHello.<|im_end|>", "Hello."),
        ("template_tokens", "[INST] Hi [/INST]", "Hi"),
        ("template_tokens", "<|im_<|im_end|>end|>", ""),
        ("secrets", "Use sk-abcdefghijklmnopqrstuv12 here", "Use [secret] here"),
        ("emails", "Mail ann@example.org or bob@example.org.", "Mail [e-mail] or [e-mail]."),
        ("phones", "Call +49 30 1234567.", "Call [phone]."),
        ("cards", "4111 1111 1111 1111, not 4111 1111 1111 1112", "[card number], not 4111 1111 1111 1112"),
    ],
)  # fmt: skip
def test_a_repair_changes_only_what_is_wrong(check: str, text: str, fixed: str) -> None:
    fix = CHECKS[check].fix
    assert fix is not None
    assert fix(text) == fixed


@pytest.mark.parametrize("check", [name for name, check in CHECKS.items() if check.fix])
def test_a_repair_leaves_nothing_to_repair(check: str) -> None:
    fix = CHECKS[check].fix
    assert fix is not None
    for text in FOUND[check]:
        assert not CHECKS[check].find(fix(text))


def test_long_texts_take_no_long_time() -> None:
    begun = process_time()
    for piece in (
        "<",
        "<p ",
        "<script>",
        "a@",
        "a.",
        "1 ",
        "+",
        "(",
        "{{",
        "password=",
        "&",
        "-----BEGIN PRIVATE KEY-----",
    ):
        found_in(piece * 20_000)
        for check in CHECKS.values():
            if check.fix:
                check.fix(piece * 20_000)
    assert process_time() - begun < 10
