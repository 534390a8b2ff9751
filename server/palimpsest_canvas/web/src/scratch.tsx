// A text of the user's own, for a page that was opened without a file: the selection is what is to be filled.
import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Doc } from "./protocol";

const points = (text: string): number => Array.from(text).length;

export function Scratch({ old, onUse }: { old: Doc | null; onUse: (doc: Doc) => void }): JSX.Element {
  const [language, setLanguage] = useState(old?.language ?? "python");
  const area = useRef<HTMLTextAreaElement>(null);
  const use = (): void => {
    const { value, selectionStart, selectionEnd } = area.current!;
    const start = points(value.slice(0, selectionStart));
    const end = start + points(value.slice(selectionStart, selectionEnd));
    onUse({ uri: null, name: "untitled", language, version: null, text: value, start, end });
  };
  return (
    <form class="card scratch" aria-label="Text" onSubmit={(event) => { event.preventDefault(); use(); }}>
      <p>
        No file is open here. Put the cursor into a file of your editor, start the page with a file
        (<code>palimpsest canvas FILE --at LINE:COLUMN</code>), or write a text: what is selected in it is rewritten, and
        without a selection something is written at the cursor.
      </p>
      <label>
        Text
        <textarea ref={area} rows={14} spellcheck={false} defaultValue={old?.text ?? ""} />
      </label>
      <div class="buttons">
        <label>Language <input size={12} value={language} onInput={(event) => setLanguage(event.currentTarget.value)} /></label>
        <button type="submit" class="primary">Use this text</button>
      </div>
    </form>
  );
}
