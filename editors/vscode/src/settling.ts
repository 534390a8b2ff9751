// Decides which part of a stream of drafts is calm enough to be looked at; knows text only.

/** What two drafts in a row agree upon, from the start. It grows, and changes only when two drafts in a row say so. */
export class Settling {
  #last: string | undefined;
  #shown = "";

  /** Take a draft; the text to show now, or undefined to leave things as they are. */
  next(draft: string): string | undefined {
    const agreed = this.#last === undefined ? "" : common(this.#last, draft);
    this.#last = draft;
    if (!agreed.trim() || this.#shown.startsWith(agreed)) {
      return undefined;
    }
    this.#shown = agreed;
    return agreed;
  }
}

/** How both texts begin. A pair of surrogates is not cut. */
function common(one: string, other: string): string {
  let end = 0;
  while (end < one.length && end < other.length && one[end] === other[end]) {
    end++;
  }
  const unit = one.charCodeAt(end - 1);
  return one.slice(0, unit >= 0xd800 && unit < 0xdc00 ? end - 1 : end);
}
