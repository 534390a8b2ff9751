"""Name the methods, commands and kinds of code actions that the specification does not have."""

STATUS = "palimpsest/status"
DRAFT = "palimpsest/draft"
NEXT_EDIT = "textDocument/copilotInlineEdit"  # no part of the specification: a name that clients know already
SHOWN_EDIT = "textDocument/didShowInlineEdit"
CLOSED_EDIT = "palimpsest/didCloseInlineEdit"
SHOWN = "textDocument/didShowCompletion"
PARTLY_ACCEPTED = "textDocument/didPartiallyAcceptCompletion"
FOCUSED = "textDocument/didFocus"

RUN = "palimpsest.run"
FILL_SELECTION = "palimpsest.fillSelection"
PAUSE = "palimpsest.pause"
NEXT = "palimpsest.nextEdit"
ACCEPTED_EDIT = "palimpsest.nextEdit.accept"
CANVAS = "palimpsest.canvas"

REWRITE = "refactor.rewrite.palimpsest"
REPAIR = "quickfix.palimpsest"
NEXT_EDIT_ACTION = f"{REPAIR}.nextEdit"
FILL_HOLES = "source.palimpsest.fillHoles"
ALTERNATIVE = f"{REWRITE}.alternative"
INSTRUCT = f"{REWRITE}.instruct"
KINDS = (
    *(f"{REWRITE}.{name}" for name in ("fill", "complete", "touchUp", "rework", "rewrite")),
    REPAIR,
    NEXT_EDIT_ACTION,
    FILL_HOLES,
    ALTERNATIVE,
    INSTRUCT,
)
