/**
 * What was chosen last, where what is shown follows a moment later.
 *
 * Keys that come fast go on from what was chosen last; what is shown meanwhile was chosen before it.
 */
export class Wanted {
  id: string | undefined;
  /** What was chosen, and is not shown yet; the oldest first. */
  private coming: string[] = [];

  choose(id: string) {
    this.id = id;
    this.coming.push(id);
  }

  /** Another one is shown: one that was chosen here, or one that somebody else has chosen, such as a link. */
  show(id: string | undefined) {
    const at = this.coming.lastIndexOf(id ?? "");
    this.coming = at < 0 ? [] : this.coming.slice(at + 1);
    if (!this.coming.length) this.id = id;
  }
}
