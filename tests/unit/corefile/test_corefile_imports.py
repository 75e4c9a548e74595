"""Snippets and imports, with files that live in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import pytest

from kdns.corefile.errors import CorefileError
from kdns.corefile.imports import MAX_IMPORT_DEPTH, MAX_IMPORTS, flatten, no_files


class Files:
    """A reader of files held in memory, which keeps what it was asked for."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self.asked: list[str] = []

    def __call__(self, pattern: str) -> Sequence[tuple[str, str]]:
        self.asked.append(pattern)
        return [(path, text) for path, text in sorted(self.files.items()) if fnmatchcase(path, pattern)]


def words(text: str, files: dict[str, str] | None = None, file: str = "Corefile") -> list[str]:
    tokens, _ = flatten(text, file, Files(files or {}), {"NAME": "common"})
    return [("\n" if token.starts_line else "") + token.text for token in tokens]


def refusal(text: str, files: dict[str, str] | None = None) -> str:
    with pytest.raises(CorefileError) as caught:
        words(text, files)
    return str(caught.value)


def test_a_snippet_takes_the_place_of_its_import() -> None:
    text = "(common) {\n errors\n log a {\n  class all\n }\n}\na.test {\n import common\n whoami\n}\n"
    found = words(text)
    assert found == ["\na.test", "{", "\nerrors", "\nlog", "a", "{", "\nclass", "all", "\n}", "\nwhoami", "\n}"]


def test_a_snippet_is_used_any_number_of_times_and_from_other_snippets() -> None:
    text = "(a) {\n any\n}\n(b) {\n import a\n debug\n}\nx {\n import b\n}\ny {\n import a\n}"
    assert words(text) == ["\nx", "{", "\nany", "\ndebug", "\n}", "\ny", "{", "\nany", "\n}"]


def test_the_first_word_of_a_snippet_starts_a_line_wherever_it_was_written() -> None:
    assert words("(a) { any\n}\nx { import a\n}") == ["\nx", "{", "\nany", "\n}"]


def test_a_snippet_may_be_empty_and_hold_whole_server_blocks() -> None:
    assert words("(none) {\n}\n(block) {\n x {\n }\n}\nimport none\nimport block") == ["\nx", "{", "\n}"]


def test_snippets_of_an_imported_file_are_known_to_the_importer() -> None:
    assert words("import lib\nx {\n import a\n}", {"lib": "(a) {\n any\n}\n"}) == ["\nx", "{", "\nany", "\n}"]


def test_names_of_snippets_and_imports_may_be_variables() -> None:
    assert words("({$NAME}) {\n any\n}\nx {\n import {$NAME}\n}") == ["\nx", "{", "\nany", "\n}"]


def test_a_snippet_defined_twice_is_refused_with_both_places() -> None:
    message = refusal("(a) {\n}\n(a) {\n}\n")
    assert message == "Corefile:3:1: the snippet (a) is already defined at Corefile:1:1"


def test_a_snippet_that_is_never_closed_is_refused_at_its_brace() -> None:
    assert refusal("(a) {\n errors {\n }\n").startswith("Corefile:1:5: this `{` is never closed")


def test_a_snippet_imported_before_it_is_defined_is_not_found() -> None:
    message = refusal("x {\n import a\n}\n(a) {\n}")
    assert message == "Corefile:2:9: nothing to import: no file a, and no snippet (a) is defined above this line"


@pytest.mark.parametrize("name", ["()", "(a", "a)", '"(a)"'])
def test_only_an_unquoted_name_in_parentheses_is_a_snippet(name: str) -> None:
    assert words(f"{name} {{\n}}")[-2:] == ["{", "\n}"]


def test_a_file_takes_the_place_of_its_import_with_its_own_positions() -> None:
    files = Files({"conf/part": "any\n debug"})
    tokens, sources = flatten("x {\n import conf/part\n}", "Corefile", files, {})
    assert [str(token.position) for token in tokens if token.text in ("any", "debug")] == [
        "conf/part:1:1",
        "conf/part:2:2",
    ]
    assert sources == ("Corefile", "conf/part")


def test_an_import_is_relative_to_the_file_it_stands_in() -> None:
    files = Files({"/etc/kdns/conf/a": "import b", "/etc/kdns/conf/b": "import /abs", "/abs": "any"})
    tokens, sources = flatten("import conf/a", "/etc/kdns/Corefile", files, {})
    assert [token.text for token in tokens] == ["any"]
    assert files.asked == ["/etc/kdns/conf/a", "/etc/kdns/conf/b", "/abs"]
    assert sources == ("/etc/kdns/Corefile", "/etc/kdns/conf/a", "/etc/kdns/conf/b", "/abs")


def test_an_import_in_a_snippet_is_relative_to_the_file_of_the_snippet() -> None:
    files = Files({"lib/snippets": "(s) {\n import part\n}", "lib/part": "any"})
    tokens, _ = flatten("import lib/snippets\nx {\n import s\n}", "Corefile", files, {})
    assert "any" in [token.text for token in tokens]


def test_a_pattern_takes_all_its_files_in_the_order_of_the_reader() -> None:
    files = {"d/1.conf": "any", "d/2.conf": "debug", "d/3.txt": "whoami"}
    assert words("x {\n import d/*.conf\n}", files) == ["\nx", "{", "\nany", "\ndebug", "\n}"]
    assert words("x {\n import d/?.txt\n}", files) == ["\nx", "{", "\nwhoami", "\n}"]


def test_a_file_is_listed_once_as_a_source() -> None:
    _, sources = flatten("import a\nimport a", "Corefile", Files({"a": "x {\n}"}), {})
    assert sources == ("Corefile", "a")


def test_a_pattern_without_a_match_is_fine_but_a_file_must_exist() -> None:
    assert words("import d/*\nx") == ["\nx"]
    assert refusal("import d/a").startswith("Corefile:1:8: nothing to import: no file d/a")


@pytest.mark.parametrize("pattern", ["*/*.conf", "??", "/???/?*?o", "[a-z]"])
def test_a_pattern_holds_at_most_one_wildcard(pattern: str) -> None:
    assert "may hold only one wildcard" in refusal(f"import {pattern}")


@pytest.mark.parametrize(
    "statement", ["import", "import\nx", 'import ""', "import {", "import {$UNSET}", "x {\nimport }"]
)
def test_an_import_of_nothing_is_refused(statement: str) -> None:
    assert "`import` takes a snippet name, a file or a pattern" in refusal(statement)


@pytest.mark.parametrize("statement", ["import a b", "import a {", "x {\n import a }"])
def test_an_import_takes_one_argument_and_nothing_behind_it(statement: str) -> None:
    assert "takes one argument, and nothing may follow" in refusal(statement, {"a": "any"})


def test_import_is_a_plain_word_where_no_statement_starts() -> None:
    assert words("x {\n log import\n}") == ["\nx", "{", "\nlog", "import", "\n}"]
    assert words('x {\n "import" a\n}') == ["\nx", "{", "\nimport", "a", "\n}"]


def test_a_cycle_of_files_is_refused_and_shows_its_chain() -> None:
    message = refusal("import a", {"a": "import b", "b": "import a"})
    assert message == "b:1:8: import cycle: Corefile -> a -> b -> a"


def test_a_file_that_imports_itself_is_refused() -> None:
    assert refusal("import Corefile", {"Corefile": ""}) == "Corefile:1:8: import cycle: Corefile -> Corefile"


def test_a_cycle_of_snippets_is_refused_and_shows_its_chain() -> None:
    assert refusal("(a) {\n import a\n}\nimport a") == "Corefile:2:9: import cycle: Corefile -> (a) -> (a)"
    mutual = "(a) {\n import b\n}\n(b) {\n import a\n}\nimport a"
    assert refusal(mutual) == "Corefile:5:9: import cycle: Corefile -> (a) -> (b) -> (a)"


def test_a_snippet_that_is_never_imported_may_be_a_cycle() -> None:
    assert words("(a) {\n import a\n}\nx") == ["\nx"]


def test_imports_are_bounded_in_depth() -> None:
    chain = {f"f{i}": f"import f{i + 1}" for i in range(MAX_IMPORT_DEPTH + 1)}
    assert f"imports more than {MAX_IMPORT_DEPTH} deep: Corefile -> f0 -> f1" in refusal("import f0", chain)
    just_deep_enough = {**chain, f"f{MAX_IMPORT_DEPTH - 1}": "any"}
    assert words("import f0", just_deep_enough) == ["\nany"]


def test_imports_are_bounded_in_number() -> None:
    doubling = "(s0) {\n any\n}\n" + "".join(
        f"(s{i}) {{\n" + f" import s{i - 1}\n" * 10 + "}\n" for i in range(1, MAX_IMPORT_DEPTH)
    )
    message = refusal(f"{doubling}import s{MAX_IMPORT_DEPTH - 1}")
    assert f"more than {MAX_IMPORTS} imports in one configuration" in message


def test_a_file_that_cannot_be_read_is_an_error_at_its_import() -> None:
    def read(_pattern: str) -> Sequence[tuple[str, str]]:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(CorefileError, match=r"^Corefile:1:8: cannot read secret: Permission denied$"):
        flatten("import secret", "Corefile", read, {})


def test_an_error_in_an_imported_file_names_that_file() -> None:
    assert refusal("import a", {"a": 'x\n "y'}).startswith("a:2:2: this quote is never closed")


def test_without_a_reader_there_are_no_files() -> None:
    assert list(no_files("anything")) == []
