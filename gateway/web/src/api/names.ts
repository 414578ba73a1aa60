/** The organization whose videos and titles these pages show. */
export const ORGANIZATION = "organizations/default";

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Return the resource name of the video with `id`, or undefined where `id` is none. */
export function videoName(id: string): string | undefined {
  return ID.test(id) ? `${ORGANIZATION}/videos/${id}` : undefined;
}

/** Return the resource name of the title with `id`, or undefined where `id` is none. */
export function titleName(id: string): string | undefined {
  return ID.test(id) ? `${ORGANIZATION}/titles/${id}` : undefined;
}

/**
 * Return the path of the page that plays the video with resource name `video`. With the title that it is the video of, the
 * page knows what comes next.
 */
export function watchPath(video: string, title = ""): string {
  return `/watch/${idOf(video)}${title === "" ? "" : `?title=${idOf(title)}`}`;
}

/** Return the path of the page about the title with resource name `title`. */
export function titlePath(title: string): string {
  return `/title/${idOf(title)}`;
}

function idOf(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}
