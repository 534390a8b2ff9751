"""Follow a renamed member of a type, field, method or variant, to where it certainly is that, or can be nothing else.

It is certain where the type is written or is that of `self`. Behind any other object it is likely at most: the object is
declared with the type, or no other type in the open documents of the language has a member of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.captures import query_in
from palimpsest_engine.syntax.next_edit.owners import Home, Member, Owners
from palimpsest_engine.syntax.next_edit.renamed import Renamed, as_edit, renamed_by, side
from palimpsest_engine.syntax.next_edit.scene import Scene
from palimpsest_engine.syntax.next_edit.scopes import Occurrence, Scopes
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_HEADER = 300  # bytes before the body of a class in which its bases are looked for
_INHERITS = re.compile(rb"\b(?:class|interface|enum|record|new)\b[^{};]*\b(?:extends|implements)\b[^{};]*\Z")
_FAMILIES = {"javascript": "ecma", "typescript": "ecma", "tsx": "ecma"}
_NAME = re.compile(rb"[A-Za-z_$][\w$]*")
_FUNCTION = re.compile(r"(?:function|method|constructor)_(?:item|definition|declaration)")
_FEW = 40  # occurrences of a name that are looked at outside of a function
_ABOVE = 5  # nodes from a name up to what declares it
# Members that libraries have, too: behind an object of unknown type they say nothing.
_OF_LIBRARIES = """
add all append apply as_str await call catch charAt clear clone close compareTo concat contains copy count data delete
drop end entries entry equals err error every extend filter find first flush fmt fold forEach format from get getClass
hash hashCode has id includes index indexOf insert into into_iter is_empty isEmpty is_none is_some items iter iterator
join key keys kind last len length lines lock log map match max message min name next now of ok open parse path peek pop
print println push put read reduce remove replace reset resolve reverse run send set size skip slice some sort source
split splice start startsWith state status stop stream string sub sum take test text then time to toString to_string
to_vec trim type unwrap update url value values wait width height write
"""
_COMMON = frozenset(_OF_LIBRARIES.split())


def fields(scene: Scene) -> Iterator[NextEdit]:
    """Yield the uses of members that a change renamed, in the document of the change."""
    for changed in scene.changes:
        if query_in("fields", changed.now.grammar) is None:
            continue
        scopes = Scopes(changed.now)
        owners = Owners(scopes)
        for renamed in renamed_by(changed, scopes):
            defined = owners.at(renamed.role.place)
            if defined is None or defined.role != "definition" or defined.type is None:
                continue
            for use, certainty in _Follower(scene, owners, renamed, defined, defined.type).uses():
                yield _edit(changed.change.document, scopes, use, renamed, certainty)


def _edit(document: str, scopes: Scopes, use: Member, renamed: Renamed, certainty: Certainty) -> NextEdit:
    where = Occurrence(use.name, use.place, "member", ())
    edit = as_edit(document, scopes.parsed, where, renamed, side(where, renamed), certainty)
    if not use.shorthand:
        return edit
    return NextEdit(edit.document, edit.span, f"{renamed.new}: {renamed.old}", edit.kind, edit.reason, certainty)


class _Follower:
    """Judge each token with the old name of one renamed member."""

    def __init__(self, scene: Scene, owners: Owners, renamed: Renamed, defined: Member, owner: str) -> None:
        self.scene = scene
        self.owners = owners
        self.scopes = owners.scopes
        self.renamed = renamed
        self.defined = defined
        self.owner = owner
        self.found = list(owners.of(renamed.old))
        self.locals = dict[Range, Scopes]()
        self.alias = defined.homes[-1].alias if defined.homes else ""

    def uses(self) -> Iterator[tuple[Member, Certainty]]:
        """Yield the uses that follow: none if the type still has a member of the old name, or had one of the new name."""
        if any(self._is_definition(each) for each in self.found) or self._is_defined_twice():
            return
        taken = [each for each in self.owners.of(self.renamed.new) if each.place != self.defined.place]
        if any(self._is_definition(each) for each in taken):
            return
        judged = [(each, certainty) for each in self.found if (certainty := self._judge(each)) is not None]
        if any(each.role == "bare" and self._is_hidden(each) for each, _ in judged):
            return
        yield from judged

    def _is_definition(self, member: Member) -> bool:
        return member.role in ("definition", "foreign") and member.type == self.owner and self._is_of_kind(member)

    def _is_of_kind(self, member: Member) -> bool:
        one, other = self.defined.kind, member.kind
        if other == "path":
            return one != "field"
        return not one or not other or one == other or other in ("typed", "keyword")

    def _judge(self, use: Member) -> Certainty | None:
        if use.role in ("definition", "foreign") or not self._is_of_kind(use):
            return None
        if use.role == "bare":
            return self._judge_bare(use)
        if use.kind == "keyword" and self._has_constructor():
            return None
        if use.role == "self":
            return self._sure(use.homes[-1]) if use.type == self.owner and use.homes else None
        if use.type is not None and (use.object is None or use.type == self.owner):
            same = use.type == self.owner or use.type == self.alias
            return None if not same else "likely" if use.kind == "typed" else "sure"
        return self._judge_object(use)

    def _has_constructor(self) -> bool:
        """Return whether a data class has a constructor of its own."""
        return any(b"def __init__" in self.scopes.parsed.data[slice(*each.place)] for each in self.defined.homes[-1:])

    def _judge_bare(self, use: Member) -> Certainty | None:
        own = [each for each in use.homes if each.type == self.owner]
        if not own:
            return None
        if use.kind != "method":
            there = self.scopes.at(use.place)
            if there is None or there.role != "reference" or self.scopes.resolve(there):
                return None
        elif any(
            each.role == "definition" and each.kind == "method" and each.homes[-1] in use.homes for each in self.found
        ):
            return None
        return self._sure(own[-1]) if own[-1] == use.homes[-1] else "likely"

    def _is_hidden(self, use: Member) -> bool:
        """Return whether the new name would mean something else at a bare use."""
        there = self.scopes.at(use.place)
        if use.kind == "method" or there is None:
            return False
        return any(each.place != self.defined.place for each in self.scopes.resolve(there, name=self.renamed.new))

    def _sure(self, home: Home) -> Certainty:
        header = self.scopes.parsed.data[max(0, home.place[0] - _HEADER) : home.place[0]]
        return "likely" if _INHERITS.search(header) and not self.renamed.new.startswith("#") else "sure"

    def _judge_object(self, use: Member) -> Certainty | None:
        if use.object is None:
            return "likely" if self._is_only_one(use) else None
        text = self.scopes.parsed.data[slice(*use.object)]
        if text in (b"this", b"self", b"super"):
            return None
        home = use.homes[-1] if use.homes else None
        known = self._meant(use.object)
        if known is None:
            return None
        if home is not None and home.receiver is not None and [each.place for each in known] == [home.receiver]:
            return self._sure(home) if home.type == self.owner else None
        if known and known[0].kind in ("import", "class"):
            return None
        declared = _declared(self.scopes.parsed, known[0].place) if len(known) == 1 else None
        if declared is not None:
            return "likely" if declared & {self.owner, self.alias} else None
        return "likely" if self._is_only_one(use) else None

    def _meant(self, place: Range) -> tuple[Occurrence, ...] | None:
        """Return what defines an object: () if it is no plain name, None if it is one that the document does not define."""
        name = self.scopes.parsed.data[slice(*place)]
        if not _NAME.fullmatch(name):
            return ()
        function = _function(self.scopes.parsed, place)
        local = (
            self.scopes if function is None else self.locals.setdefault(function, Scopes(self.scopes.parsed, function))
        )
        few = len(re.findall(rb"\b%s\b" % name, self.scopes.parsed.data)) <= _FEW
        for scopes in (local, self.scopes) if few else (local,):
            there = scopes.at(place)
            known = scopes.resolve(there) if there is not None and there.role == "reference" else ()
            if known:
                return known
        return None

    def _is_defined_twice(self) -> bool:
        """Return whether the document has two types of this name, or a variable that is called so."""
        parsed = self.scopes.parsed
        kinds = rb"struct|enum|class|interface|record|trait|type|union"
        if _family(parsed) == "ecma":
            kinds += rb"|const|let|var"
        defined = re.compile(rb"\b(?:%s)\s+%s\b\s*[^\s;*),]" % (kinds, re.escape(self.owner.encode())))
        return parsed.grammar not in ("c", "go") and len(defined.findall(parsed.data)) > 1

    def _is_only_one(self, use: Member) -> bool:
        """Return whether nothing else in the open documents of the language has a member of this name."""
        if use.name in _COMMON:
            return False
        for parsed in self.scene.documents.values():
            if _family(parsed) != _family(self.scopes.parsed):
                continue
            found = self.found if parsed is self.scopes.parsed else Owners(Scopes(parsed)).of(use.name)
            if any(self._is_of_another(each) for each in found):
                return False
        return True

    def _is_of_another(self, member: Member) -> bool:
        """Return whether this says that something else has a member of the name."""
        if not self._is_of_kind(member):
            return False
        if member.role == "use":
            return member.type is not None and member.type not in (self.owner, self.alias)
        return member.role in ("definition", "foreign")


def _family(parsed: Parsed) -> str:
    return _FAMILIES.get(parsed.grammar, parsed.grammar)


def _function(parsed: Parsed, place: Range) -> Range | None:
    """Return the outermost function around some bytes."""
    tree, found = parsed.tree, None
    node: Node | None = None if tree is None else tree.root_node.descendant_for_byte_range(*place)
    while node is not None:
        found = node.byte_range if _FUNCTION.fullmatch(node.type) else found
        node = node.parent
    return found


def _declared(parsed: Parsed, place: Range) -> set[str] | None:
    """Return the words of the type with which a variable is declared, None if it is declared without one."""
    tree = parsed.tree
    node: Node | None = None if tree is None else tree.root_node.descendant_for_byte_range(*place)
    for _ in range(_ABOVE):
        node = None if node is None else node.parent
        said = None if node is None else node.child_by_field_name("type")
        if said is not None and not said.start_byte <= place[0] < said.end_byte:
            words = set(re.findall(r"\w+", parsed.data[said.start_byte : said.end_byte].decode("utf-8", "replace")))
            return None if words & {"var", "auto", "any", "unknown", "Object"} else words
        if node is None or "body" in node.type or "block" in node.type or node.child_by_field_name("body") is not None:
            return None
    return None
