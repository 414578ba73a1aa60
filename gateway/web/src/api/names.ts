/** The organization whose videos these pages show. */
export const ORGANIZATION = "organizations/default";

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Return the resource name of the video with `id`, or undefined where `id` is none. */
export function videoName(id: string): string | undefined {
  return ID.test(id) ? `${ORGANIZATION}/videos/${id}` : undefined;
}

/** Return the path of the page that plays the video with resource name `video`. */
export function watchPath(video: string): string {
  return `/watch/${video.slice(video.lastIndexOf("/") + 1)}`;
}
