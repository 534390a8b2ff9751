"""Name our own methods, commands and kinds of code actions."""

STATUS = "palimpsest/status"
DRAFT = "palimpsest/draft"

RUN = "palimpsest.run"
FILL_SELECTION = "palimpsest.fillSelection"
PAUSE = "palimpsest.pause"

REWRITE = "refactor.rewrite.palimpsest"
REPAIR = "quickfix.palimpsest"
FILL_HOLES = "source.palimpsest.fillHoles"
ALTERNATIVE = f"{REWRITE}.alternative"
KINDS = (
    *(f"{REWRITE}.{name}" for name in ("fill", "complete", "touchUp", "rework", "rewrite")),
    REPAIR,
    FILL_HOLES,
    ALTERNATIVE,
)
