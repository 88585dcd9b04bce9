/**
 * Follower: keeps a scrolling view on its newest line until the reader scrolls up; scrolling to the end or pressing the
 * pill pins it again. Programmatic scrolling and shrinking content never count as scrolling by the reader.
 */

const AT_END_PX = 24;
const ABOVE = 0.4; // what is above a place and takes at most this share of the view is shown with it
const GAP_PX = 10;

export class Follower {
  /**
   * `pill` is a button shown while the view is released. `content`: an element in the view; the view follows whenever
   * its height changes, which happens late for text out of sight. Without it, call `stick` after each change.
   */
  constructor(view, pill, content = null) {
    this.view = view;
    this.pill = pill;
    this.pinned = true;
    this.moved = false; // whether the reader has scrolled
    /** @type {ResizeObserver | null} */
    this.hidden = null; // waits until the view is shown
    this.top = 0;
    this.height = 0;
    pill.hidden = true;
    pill.addEventListener("click", () => this.#follow());
    view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    if (content) new ResizeObserver(() => this.stick()).observe(content);
  }

  /** Call after the content grew. The scroll event brings the new position; measuring here would force a layout. */
  stick() {
    if (this.pinned) this.view.scrollTop = 1e9;
  }

  pin() {
    this.#set(true);
    this.stick();
  }

  /** Follow new content from its beginning, as if the reader had not scrolled yet. */
  begin() {
    this.hidden?.disconnect();
    this.moved = false;
    this.pin();
  }

  /** The content is complete: show `place`, an element of it, at the top, unless the reader has scrolled. */
  stand(place) {
    if (this.moved) return;
    if (!this.view.clientHeight) {
      this.#whenShown(() => this.stand(place));
      return;
    }
    const above = place.getBoundingClientRect().top - this.view.getBoundingClientRect().top + this.view.scrollTop;
    this.release();
    this.view.scrollTop = above < ABOVE * this.view.clientHeight ? 0 : above - GAP_PX;
  }

  release() {
    this.#set(false);
  }

  /** The reader looks elsewhere. */
  leave() {
    this.moved = true;
    this.#set(false);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.view;
    if (!clientHeight) return; // folded away
    this.view.classList.toggle("scrolled", scrollTop > 0);
    if (this.pinned && scrollTop < this.top - 1 && scrollHeight >= this.height) this.leave();
    else if (!this.pinned && scrollTop > this.top && scrollHeight - scrollTop - clientHeight < AT_END_PX) this.#set(true);
    this.top = scrollTop;
    this.height = scrollHeight;
  }

  /** Once the view has a height: it may be folded away, in a narrowed lane or beneath another tab. */
  #whenShown(act) {
    this.hidden?.disconnect();
    this.hidden = new ResizeObserver(() => {
      if (!this.view.clientHeight) return;
      this.hidden.disconnect();
      act();
    });
    this.hidden.observe(this.view);
  }

  #follow() {
    this.moved = true;
    this.pin();
  }

  #set(pinned) {
    if (this.pinned === pinned) return;
    this.pinned = pinned;
    this.pill.hidden = pinned;
  }
}
