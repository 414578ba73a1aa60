/** What counts durations, and what tells the time. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  now(): number;
  /** Milliseconds since 1970, by whatever this machine believes. */
  wall(): number;
}

/** What is asked for many times a second. */
export interface Glance {
  /** Position in the media, seconds. */
  position: number;
  /** Speed of playback, 1 being normal; 0 while Shaka Player holds it. */
  rate: number;
  /** Height of the picture that is played, in pixels; 0 where there is none. It names the rendition. */
  height: number;
  /** Height of what the viewer sees of it, in pixels of the screen. */
  shownHeight: number;
}

/** What is asked for when there is an event. */
export interface Details {
  /** Encoded bitrate of what is played, and the highest on offer, bits per second. */
  bitrate: number;
  topBitrate: number;
  /** Media buffered ahead, seconds. */
  buffer: number;
  /** Throughput as the player estimates it, bits per second. */
  throughput: number;
  /** Frames dropped, and bytes of media received, since the presentation was loaded. */
  droppedFrames: number;
  mediaBytes: number;
  /** Name of what the media comes from; empty for the page's own host. */
  cdn: string;
}

/** Where a viewing is looked at. */
export interface Looks {
  glance(): Glance;
  details(): Details;
}
