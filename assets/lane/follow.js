/**
 * Follower: keeps a scrolling view on its newest line until the reader scrolls up; reaching the end or the pill pins
 * it again. Programmatic scrolling and content that shrinks never count as the reader's wish.
 */

const AT_END_PX = 24;

export class Follower {
  /**
   * `pill` is a button shown while the view is released. `content`: an element in the view that is followed whenever
   * its height changes, which text out of sight may do long after it came; without it `stick` says when.
   */
  constructor(view, pill, content = null) {
    this.view = view;
    this.pill = pill;
    this.pinned = true;
    this.top = 0;
    this.height = 0;
    pill.hidden = true;
    pill.addEventListener("click", () => this.pin());
    view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    if (content) new ResizeObserver(() => this.stick()).observe(content);
  }

  /** Call after the content grew. Asks for no measure: what the view then is, its scroll event tells. */
  stick() {
    if (this.pinned) this.view.scrollTop = 1e9;
  }

  pin() {
    this.#set(true);
    this.stick();
  }

  release() {
    this.#set(false);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.view;
    if (!clientHeight) return; // folded away
    this.view.classList.toggle("scrolled", scrollTop > 0);
    if (this.pinned && scrollTop < this.top - 1 && scrollHeight >= this.height) this.#set(false);
    else if (!this.pinned && scrollTop > this.top && scrollHeight - scrollTop - clientHeight < AT_END_PX) this.#set(true);
    this.top = scrollTop;
    this.height = scrollHeight;
  }

  #set(pinned) {
    if (this.pinned === pinned) return;
    this.pinned = pinned;
    this.pill.hidden = pinned;
  }
}
