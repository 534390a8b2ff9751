"""Licences: what metadata says, what it means, and what is accepted."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_train.licences import DebianCopyright, Licence, of_npm_manifest, of_python_metadata, of_text
from palimpsest_train.packages import read_plan

RULES = read_plan().rules

MIT = """MIT License

Copyright (c) 2020 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction.

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.
"""
BSD = """Redistribution and use in source and binary forms, with or without modification, are permitted:
 * Redistributions of source code must retain the above copyright notice.
 * Redistributions in binary form must reproduce the above copyright notice.
"""
BSD_3 = BSD + " * Neither the name of Somebody nor of contributors may be used to endorse or promote products.\n"


@pytest.mark.parametrize(
    ("metadata", "spdx", "read_from"),
    [
        ("License-Expression: MIT\n", "MIT", "License-Expression"),
        ("License-Expression: MIT\nLicense: GPL\n", "MIT", "License-Expression"),
        ("License-Expression: MPL-2.0\n", "MPL-2.0", "License-Expression"),
        ("Classifier: License :: OSI Approved :: MIT License\n", "MIT", "Classifier"),
        (
            "Classifier: License :: OSI Approved :: MIT License\n"
            "Classifier: License :: OSI Approved :: Apache Software License\n",
            "Apache-2.0 AND MIT",
            "Classifier",
        ),
        ("Classifier: License :: OSI Approved\nLicense: MIT\n", "MIT", "License"),
        ("License: BSD\n", "BSD-3-Clause", "License"),
        ("License: MIT OR AFL-2.1\n", "MIT OR AFL-2.1", "License"),
        ("License: " + MIT.replace("\n", "\n        ") + "\n", "MIT", "License"),
        (
            "License: MIT\nClassifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)\n",
            "",
            "Classifier",
        ),
        ("License: Beerware\n", "", "License"),
        ("License: UNKNOWN\n", "", ""),
        ("Name: nothing\n", "", ""),
        ("", "", ""),
    ],
)
def test_python_metadata(metadata: str, spdx: str, read_from: str):
    assert of_python_metadata(metadata, RULES) == Licence(spdx, read_from)


@pytest.mark.parametrize(
    ("manifest", "spdx"),
    [
        ('{"license": "MIT"}', "MIT"),
        ('{"license": "(MIT OR GPL-2.0)"}', "(MIT OR GPL-2.0)"),
        ('{"license": {"type": "ISC", "url": "x"}}', "ISC"),
        ('{"licenses": [{"type": "MIT"}, {"type": "Apache-2.0"}]}', "MIT OR Apache-2.0"),
        ('{"license": "SEE LICENSE IN LICENSE.md"}', ""),
        ('{"license": null}', ""),
        ('{"name": "x"}', ""),
        ("[]", ""),
        ("not json", ""),
    ],
)
def test_npm_manifests(manifest: str, spdx: str):
    assert of_npm_manifest(manifest, RULES).spdx == spdx


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        (MIT, "MIT"),
        (BSD, "BSD-2-Clause"),
        (BSD_3, "BSD-3-Clause"),
        (BSD_3 + "All advertising materials mentioning this software must display\n", ""),
        (MIT + BSD_3, ""),
        (MIT + "The Software shall be used for Good, not Evil.\n", ""),
        (MIT + "Parts are under the GNU General Public License.\n", ""),
        (MIT + "Not for commercial use.\n", ""),
        ("This is free and unencumbered software released into the public domain.", "Unlicense"),
        ("# " + MIT.replace("\n", "\n# "), "MIT"),
        ("All rights reserved.", ""),
        ("", ""),
    ],
)
def test_licence_texts(text: str, spdx: str):
    assert of_text(text) == spdx


@pytest.mark.parametrize(
    ("expression", "accepted"),
    [
        ("MIT", True),
        ("MIT AND Apache-2.0", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT/Apache-2.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-2.0) AND ISC", True),
        ("(MIT OR GPL-2.0) AND LGPL-2.1", False),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("MPL-2.0", False),
        ("LicenseRef-MIT", False),
        ("mit", False),
        ("", False),
    ],
)
def test_expressions(expression: str, accepted: bool):
    assert RULES.accepts(expression) is accepted


LEAVES = ("MIT", "ISC", "GPL-2.0", "MPL-2.0")
EXPRESSIONS = st.recursive(
    st.sampled_from(LEAVES).map(lambda name: (name, frozenset({frozenset({name})}))),
    lambda inner: st.tuples(inner, st.sampled_from(("AND", "OR")), inner).map(
        lambda t: (
            f"({t[0][0]} {t[1]} {t[2][0]})",
            t[0][1] | t[2][1] if t[1] == "OR" else frozenset(a | b for a, b in product(t[0][1], t[2][1])),
        )
    ),
    max_leaves=6,
)


@given(EXPRESSIONS)
def test_nothing_is_accepted_that_no_choice_of_alternatives_allows(case: tuple[str, frozenset[frozenset[str]]]):
    expression, choices = case
    if RULES.accepts(expression):
        assert any(choice <= RULES.permissive for choice in choices)


COPYRIGHT = """Format: https://example.org/copyright-format/1.0/
Upstream-Name: thing

Files: *
Copyright: Somebody
License: Expat

Files: src/gpl/* tools/*.c
Copyright: Another
License: GPL-2+

Files: src/gpl/free.c
Copyright: Another
License: GPL-2+ or Expat

Files: both.c
License: Expat and BSD-3-clause

Files: odd.c
License: Expat, and LGPL-2.1

Files: own.c
License: Thing and Expat

Files: other.c
License: Other

License: Expat
 Permission is hereby granted.

License: Thing
 This is free and unencumbered software released into the public domain.

License: Other
 All rights reserved.
"""


@pytest.mark.parametrize(
    ("path", "spdx"),
    [
        ("main.c", "MIT"),
        ("src/main.c", "MIT"),
        ("src/gpl/deep/main.c", "GPL-2+"),
        ("src/gpl/free.c", "GPL-2+ OR MIT"),
        ("tools/x.c", "GPL-2+"),
        ("tools/x.h", "MIT"),
        ("both.c", "MIT AND BSD-3-Clause"),
        ("odd.c", "MIT AND LGPL-2.1"),
        ("own.c", "Unlicense AND MIT"),
        ("other.c", "Other"),
    ],
)
def test_debian_copyright_goes_file_by_file(path: str, spdx: str):
    assert DebianCopyright(COPYRIGHT, RULES).spdx(path) == spdx


def test_debian_copyright_that_is_prose_says_nothing():
    assert DebianCopyright("This package was debianized by Somebody.\n\nIt is free.\n", RULES).spdx("a.c") == ""
