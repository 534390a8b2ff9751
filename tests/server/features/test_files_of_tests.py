"""Files of tests, by the habits of languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_server.features.code_actions.files_of_tests import HABITS, file_of_tests, holds_tests

CASES = [
    # path, files that are there, the file of tests; a + before it if it is new
    ("shapes.py", "", "+tests/test_shapes.py"),
    ("src/pkg/shapes.py", "", "+tests/test_shapes.py"),
    ("pkg/shapes.py", "tests/conftest.py", "+tests/test_shapes.py"),
    ("src/pkg/shapes.py", "tests/pkg/test_a.py", "+tests/pkg/test_shapes.py"),
    ("pkg/geometry/shapes.py", "tests/geometry/test_a.py", "+tests/geometry/test_shapes.py"),
    ("pkg/shapes.py", "pkg/tests/x.py tests/y.py", "+pkg/tests/test_shapes.py"),
    ("pkg/shapes.py", "test/y.py", "+test/test_shapes.py"),
    ("pkg/shapes.py", "test_shapes.py tests/test_shapes.py", "tests/test_shapes.py"),
    ("pkg/shapes.py", "pkg/test_shapes.py tests/test_shapes.py", "pkg/test_shapes.py"),
    ("pkg/shapes.py", "pkg/shapes_test.py", "pkg/shapes_test.py"),
    ("src/pkg/geometry/shapes.py", "tests/geometry/test_shapes.py", "tests/geometry/test_shapes.py"),
    ("server/src/pkg/shapes.py", "server/tests/pkg/test_shapes.py", "server/tests/pkg/test_shapes.py"),
    ("pkg/shapes.pyi", "", "+tests/test_shapes.py"),
    ("src/shapes.ts", "", "+src/shapes.test.ts"),
    ("src/shapes.tsx", "src/shapes.spec.tsx", "src/shapes.spec.tsx"),
    ("src/shapes.js", "src/__tests__/other.test.js", "+src/__tests__/shapes.test.js"),
    ("src/shapes.js", "src/__tests__/shapes.test.js", "src/__tests__/shapes.test.js"),
    ("src/shapes.mjs", "test/shapes.test.mjs", "test/shapes.test.mjs"),
    ("src/a/shapes.ts", "test/a/shapes.spec.ts", "test/a/shapes.spec.ts"),
    ("pkg/shapes.go", "tests/x.go", "+pkg/shapes_test.go"),
    ("pkg/shapes.go", "pkg/shapes_test.go", "pkg/shapes_test.go"),
    ("src/shapes.rs", "", "+tests/shapes.rs"),
    ("crates/geo/src/shapes.rs", "", "+crates/geo/tests/shapes.rs"),
    ("src/geo/mod.rs", "tests/geo.rs", "tests/geo.rs"),
    ("src/lib.rs", "", "+tests/lib.rs"),
    ("src/main/java/a/b/Shape.java", "", "+src/test/java/a/b/ShapeTest.java"),
    ("core/src/main/java/a/Shape.java", "core/src/test/java/a/ShapeTests.java", "core/src/test/java/a/ShapeTests.java"),
    ("core/src/main/java/a/Shape.java", "", "+core/src/test/java/a/ShapeTest.java"),
    ("src/main/kotlin/a/Shape.kt", "", "+src/test/kotlin/a/ShapeTest.kt"),
    ("src/shapes.c", "", "+tests/test_shapes.c"),
    ("include/shapes.h", "tests/test_shapes.c", "tests/test_shapes.c"),
    ("src/shapes.cc", "src/shapes_test.cc", "src/shapes_test.cc"),
    ("src/shapes.cpp", "test/x.cpp", "+test/test_shapes.cpp"),
    ("lib/geo/shapes.rb", "", "+spec/geo/shapes_spec.rb"),
    ("lib/geo/shapes.rb", "test/test_helper.rb", "+test/geo/shapes_test.rb"),
    ("lib/shapes.rb", "test/test_shapes.rb", "test/test_shapes.rb"),
    ("app/models/shape.rb", "spec/models/shape_spec.rb", "spec/models/shape_spec.rb"),
    ("src/Geo/Shape.php", "", "+tests/Geo/ShapeTest.php"),
]
LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".ts": "typescript",
    ".tsx": "typescriptreact",
    ".js": "javascript",
    ".mjs": "javascript",
    ".go": "go",
    ".rs": "rust",
    ".java": "java",
    ".kt": "kotlin",
    ".c": "c",
    ".h": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".rb": "ruby",
    ".php": "php",
}


def language(path):
    return LANGUAGES[path[path.rindex(".") :]]


@pytest.mark.parametrize(("path", "there", "expected"), CASES)
def test_tests_go_where_the_language_has_them(path, there, expected):
    files = there.split()

    def exists(name):
        return any(each.startswith(name) for each in files) if name.endswith("/") else name in files

    found = file_of_tests(path, language(path), exists)
    assert found == (expected.removeprefix("+"), expected.startswith("+"))


@pytest.mark.parametrize(("path", "there", "expected"), CASES)
def test_a_file_of_tests_is_known_as_one(path, there, expected):
    assert holds_tests(expected.removeprefix("+"), language(path))
    assert not holds_tests(path, language(path))


def test_a_language_without_known_habits_has_no_file_of_tests():
    assert file_of_tests("a.zig", "zig", lambda path: True) is None
    assert not holds_tests("test_a.zig", "zig")


PART = st.sampled_from(["src", "lib", "tests", "test", "main", "java", "a", "é", "__tests__", "x.y"])


@given(st.lists(PART, max_size=5), st.sampled_from(sorted(HABITS)), st.sets(st.lists(PART, max_size=3).map("/".join)))
def test_the_file_lies_below_the_folder_of_the_workspace_and_is_another_one(folders, language, there):
    path = "/".join([*folders, "name.ext"])
    found, new = file_of_tests(path, language, lambda each: each.strip("/") in there)
    assert not found.startswith(("/", ".."))
    assert "//" not in found
    assert found != path or language == "rust"
    assert new is (found not in there)
